-- What was counted cannot be changed afterwards: the totals could not follow, as a maximum cannot be taken back.
CREATE FUNCTION refuse_usage_change() RETURNS trigger
LANGUAGE plpgsql
SET search_path = public, pg_temp
AS $$
BEGIN
    RAISE EXCEPTION 'api_usage: a counted request does not change'
        USING ERRCODE = 'check_violation',
              DETAIL = 'user_id, api_key_id, status_code, response_time_ms and created_at are in the monthly totals.';
END
$$;
