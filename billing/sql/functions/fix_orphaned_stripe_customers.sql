-- Gives the free plan to every user of orphaned_customers and returns them. A second call returns none. What
-- Stripe has for them is reconciliation's business.
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
        SELECT o.user_id, 'free', 'active', now()
        FROM orphaned_customers AS o
        ORDER BY o.user_id
        ON CONFLICT DO NOTHING
        RETURNING subscriptions.user_id
    )
    SELECT u.id, u.email, u.stripe_customer_id, 'created_free_subscription'
    FROM fixed AS f
    INNER JOIN users AS u ON u.id = f.user_id
    ORDER BY u.email;
END
$$;
