-- Gives each new user the free plan since they joined, once per statement.
CREATE FUNCTION create_free_subscriptions() RETURNS trigger
LANGUAGE plpgsql
SET search_path = public, pg_temp
AS $$
BEGIN
    INSERT INTO subscriptions (user_id, tier, status, current_period_start, created_at)
    SELECT n.id, 'free', 'active', n.created_at, n.created_at
    FROM new_users AS n
    WHERE n.status <> 'deleted'
    ORDER BY n.id
    ON CONFLICT DO NOTHING;
    RETURN NULL;
END
$$;
