-- Subscriptions that are active or trialing although their period has ended: an event from Stripe is missing. The one
-- that is longest overdue comes first.
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
        s.id,
        s.user_id,
        u.email,
        s.tier,
        s.status,
        s.current_period_end,
        round(extract(epoch FROM now() - s.current_period_end) / 86400, 2),
        s.stripe_subscription_id
    FROM subscriptions AS s
    INNER JOIN users AS u ON u.id = s.user_id
    WHERE s.status IN ('trialing', 'active') AND s.current_period_end < now()
    ORDER BY s.current_period_end, s.id
$$;
