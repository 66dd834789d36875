-- Gives each new user the free tier, once per statement.
CREATE FUNCTION create_default_subscriptions() RETURNS trigger
LANGUAGE plpgsql
SET search_path = public, pg_temp
AS $$
BEGIN
    INSERT INTO subscriptions (user_id, tier, status, current_period_start)
    SELECT n.id, 'free', 'active', n.created_at
    FROM new_users AS n
    WHERE n.status <> 'deleted'
    ORDER BY n.id
    ON CONFLICT (user_id) WHERE status IN ('trialing', 'active', 'past_due', 'unpaid', 'paused') AND NOT is_duplicate
    DO NOTHING;
    RETURN NULL;
END
$$;
