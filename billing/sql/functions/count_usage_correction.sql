-- Has usage_count follow a correction at once. A subscription that somebody else is changing is left to
-- sync_subscription_usage().
CREATE FUNCTION count_usage_correction() RETURNS trigger
LANGUAGE plpgsql
SET search_path = public, pg_temp
AS $$
BEGIN
    PERFORM set_config('app.counting', 'on', true);
    UPDATE subscriptions AS s
    SET usage_count = own.requests, usage_synced_at = now()
    FROM (
        SELECT l.id, m.requests
        FROM subscriptions AS l
        INNER JOIN miscounted_subscriptions AS m ON m.id = l.id
        WHERE l.user_id = NEW.user_id
        FOR NO KEY UPDATE OF l SKIP LOCKED
    ) AS own
    WHERE s.id = own.id;
    PERFORM set_config('app.counting', '', true);
    RETURN NULL;
END
$$;
