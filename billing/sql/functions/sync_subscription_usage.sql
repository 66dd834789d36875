-- Sets usage_count of every live subscription to its user's requests of this calendar month (UTC), queued ones
-- included; returns how many changed. usage_synced_at is when the count last moved. A subscription that somebody else
-- is changing is left to the next call: nobody waits for it.
CREATE FUNCTION sync_subscription_usage() RETURNS bigint
LANGUAGE plpgsql
SET search_path = public, pg_temp
AS $$
DECLARE
    changed bigint;
BEGIN
    PERFORM pg_advisory_xact_lock(hashtextextended('sync_subscription_usage', 0));

    PERFORM set_config('app.counting', 'on', true);
    WITH stale AS (
        SELECT s.id, coalesce(m.total_requests, 0) AS requests
        FROM live_subscriptions AS s
        LEFT JOIN monthly_usage_summary AS m
            ON m.user_id = s.user_id AND m.month = date_trunc('month', now() AT TIME ZONE 'UTC')::date
        WHERE s.usage_count <> coalesce(m.total_requests, 0)
        ORDER BY s.id
        FOR NO KEY UPDATE OF s SKIP LOCKED
    )
    UPDATE subscriptions AS s
    SET usage_count = stale.requests, usage_synced_at = now()
    FROM stale
    WHERE s.id = stale.id;
    GET DIAGNOSTICS changed = ROW_COUNT;
    PERFORM set_config('app.counting', '', true);
    RETURN changed;
END
$$;
