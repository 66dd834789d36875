-- Gives the free tier to every user who has a Stripe customer but no live subscription, deleted users excepted, and
-- returns them. A second call returns none. What Stripe has for them is reconciliation's business.
CREATE FUNCTION fix_orphaned_stripe_customers()
RETURNS TABLE (user_id uuid, email text, stripe_customer_id text, action text)
LANGUAGE plpgsql
SET search_path = public, pg_temp
AS $$
#variable_conflict use_column
BEGIN
    PERFORM pg_advisory_xact_lock(hashtextextended('fix_orphaned_stripe_customers', 0));

    RETURN QUERY
    WITH fixed AS (
        INSERT INTO subscriptions (user_id, tier, status, current_period_start)
        SELECT u.id, 'free', 'active', now()
        FROM users AS u
        WHERE u.stripe_customer_id IS NOT NULL
            AND u.status <> 'deleted'
            AND NOT EXISTS (
                SELECT 1
                FROM subscriptions AS s
                WHERE s.user_id = u.id
                    AND s.status IN ('trialing', 'active', 'past_due', 'unpaid', 'paused')
                    AND NOT s.is_duplicate
            )
        ORDER BY u.id
        ON CONFLICT (user_id) WHERE status IN ('trialing', 'active', 'past_due', 'unpaid', 'paused') AND NOT is_duplicate
        DO NOTHING
        RETURNING subscriptions.user_id
    )
    SELECT u.id, u.email, u.stripe_customer_id, 'created_free_subscription'
    FROM fixed AS f
    INNER JOIN users AS u ON u.id = f.user_id
    ORDER BY u.email;
END
$$;
