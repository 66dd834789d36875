DROP TRIGGER guard_counters ON api_keys;
CREATE TRIGGER guard_counters BEFORE UPDATE OF usage_count, last_used_at ON api_keys
FOR EACH ROW EXECUTE FUNCTION guard_api_key_counters();
DROP TRIGGER audit ON api_keys;
CREATE TRIGGER audit AFTER INSERT OR UPDATE OR DELETE ON api_keys
FOR EACH ROW EXECUTE FUNCTION audit_row_change('id');

DROP TRIGGER guard_counters ON subscriptions;
CREATE TRIGGER guard_counters BEFORE UPDATE OF usage_count, usage_synced_at ON subscriptions
FOR EACH ROW EXECUTE FUNCTION guard_subscription_counters();
DROP TRIGGER audit ON subscriptions;
CREATE TRIGGER audit AFTER INSERT OR UPDATE OR DELETE ON subscriptions
FOR EACH ROW EXECUTE FUNCTION audit_row_change('id');

-- Queues what a statement added to api_usage, aggregated, and never waits for another writer: no shared row is touched
-- until roll_up_usage() folds the queue. monthly_usage_summary adds the queue to the totals, so it is exact at once.
CREATE OR REPLACE FUNCTION count_api_usage() RETURNS trigger
LANGUAGE plpgsql
SET search_path = public, pg_temp
AS $$
BEGIN
    INSERT INTO api_usage_deltas (
        user_id, api_key_id, month, total_requests, successful_requests, failed_requests,
        total_response_time_ms, max_response_time_ms, last_request_at
    )
    SELECT
        n.user_id,
        n.api_key_id,
        date_trunc('month', n.created_at AT TIME ZONE 'UTC')::date,
        count(*),
        count(*) FILTER (WHERE n.status_code < 400),
        count(*) FILTER (WHERE n.status_code >= 400),
        sum(n.response_time_ms),
        max(n.response_time_ms),
        max(n.created_at)
    FROM new_requests AS n
    GROUP BY 1, 2, 3;
    RETURN NULL;
END
$$;

-- An ORM's save() writes back the counters as they were when it read the row. Only the fold, which sets app.counting,
-- moves them; anybody else's value is ignored.
CREATE OR REPLACE FUNCTION guard_api_key_counters() RETURNS trigger
LANGUAGE plpgsql
SET search_path = public, pg_temp
AS $$
BEGIN
    IF current_setting('app.counting', true) IS DISTINCT FROM 'on' THEN
        NEW.usage_count := OLD.usage_count;
        NEW.last_used_at := OLD.last_used_at;
    END IF;
    RETURN NEW;
END
$$;

-- As guard_api_key_counters(), for the usage that sync_subscription_usage() maintains.
CREATE OR REPLACE FUNCTION guard_subscription_counters() RETURNS trigger
LANGUAGE plpgsql
SET search_path = public, pg_temp
AS $$
BEGIN
    IF current_setting('app.counting', true) IS DISTINCT FROM 'on' THEN
        NEW.usage_count := OLD.usage_count;
        NEW.usage_synced_at := OLD.usage_synced_at;
    END IF;
    RETURN NEW;
END
$$;
