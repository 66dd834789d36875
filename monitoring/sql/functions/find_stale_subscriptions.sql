-- The rows of v_stale_subscriptions, the one that is longest overdue first.
CREATE FUNCTION find_stale_subscriptions()
RETURNS TABLE (
    subscription_id uuid,
    user_id uuid,
    email text,
    tier text,
    status text,
    current_period_end timestamptz,
    days_overdue numeric,
    stripe_subscription_id text
)
LANGUAGE sql
STABLE
SET search_path = public, pg_temp
AS $$
    SELECT
        s.subscription_id,
        s.user_id,
        s.email,
        s.tier,
        s.status,
        s.current_period_end,
        s.days_overdue,
        s.stripe_subscription_id
    FROM v_stale_subscriptions AS s
    ORDER BY s.current_period_end, s.subscription_id
$$;
