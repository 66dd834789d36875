-- Sets usage_count of every live subscription to its user's requests of this calendar month (UTC), queued ones
-- included; returns how many changed. usage_synced_at is when the count last moved. A subscription that somebody else
-- is changing is left to the next call: nobody waits for it. One that cannot be changed is named by a warning and keeps
-- no other one.
CREATE FUNCTION sync_subscription_usage() RETURNS bigint
LANGUAGE plpgsql
SET search_path = public, pg_temp
AS $$
DECLARE
    miscounted record;
    changed bigint;
BEGIN
    PERFORM pg_advisory_xact_lock(hashtextextended('sync_subscription_usage', 0));

    PERFORM set_config('app.counting', 'on', true);
    BEGIN
        WITH stale AS (
            SELECT s.id, m.requests
            FROM subscriptions AS s
            INNER JOIN miscounted_subscriptions AS m ON m.id = s.id
            ORDER BY s.id
            FOR NO KEY UPDATE OF s SKIP LOCKED
        )
        UPDATE subscriptions AS s
        SET usage_count = stale.requests, usage_synced_at = now()
        FROM stale
        WHERE s.id = stale.id;
        GET DIAGNOSTICS changed = ROW_COUNT;
    EXCEPTION WHEN data_exception OR integrity_constraint_violation OR program_limit_exceeded OR plpgsql_error THEN
        changed := 0;
        FOR miscounted IN SELECT m.id, m.requests FROM miscounted_subscriptions AS m ORDER BY m.id LOOP
            BEGIN
                UPDATE subscriptions AS s
                SET usage_count = miscounted.requests, usage_synced_at = now()
                FROM (SELECT l.id FROM subscriptions AS l WHERE l.id = miscounted.id FOR NO KEY UPDATE SKIP LOCKED) AS own
                WHERE s.id = own.id;
                changed := changed + FOUND::int;
            EXCEPTION
                WHEN data_exception OR integrity_constraint_violation OR program_limit_exceeded OR plpgsql_error THEN
                    PERFORM leave_out(
                        format('sync_subscription_usage: left out subscription %s: %s', miscounted.id, SQLERRM)
                    );
            END;
        END LOOP;
    END;
    PERFORM set_config('app.counting', '', true);
    RETURN changed;
END
$$;
