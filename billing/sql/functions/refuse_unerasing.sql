-- What was erased is gone: the row stays the one of somebody who was erased.
CREATE FUNCTION refuse_unerasing() RETURNS trigger
LANGUAGE plpgsql
SET search_path = public, pg_temp
AS $$
BEGIN
    RAISE EXCEPTION 'users: customer % was erased on % and stays so', old.id, (old.erased_at AT TIME ZONE 'UTC')::date
        USING ERRCODE = 'restrict_violation';
END
$$;
