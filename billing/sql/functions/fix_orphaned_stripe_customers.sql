-- Gives the free plan to every user of orphaned_customers and returns them. A second call returns none. What
-- Stripe has for them is reconciliation's business. A user who cannot be given it, or whom somebody else holds for a
-- second, is left to the next call with a warning.
CREATE FUNCTION fix_orphaned_stripe_customers()
RETURNS TABLE (user_id uuid, email text, stripe_customer_id text, action text)
LANGUAGE plpgsql
SET search_path = public, pg_temp
SET lock_timeout = 0
AS $$
#variable_conflict use_column
DECLARE
    orphan record;
BEGIN
    PERFORM pg_advisory_xact_lock(hashtextextended('fix_orphaned_stripe_customers', 0));
    SET LOCAL lock_timeout = '1s';  -- until the function ends

    FOR orphan IN
        SELECT u.id, u.email, u.stripe_customer_id
        FROM orphaned_customers AS o
        INNER JOIN users AS u ON u.id = o.user_id
        ORDER BY u.email, u.id
    LOOP
        BEGIN
            INSERT INTO subscriptions (user_id, tier, status, current_period_start)
            VALUES (orphan.id, 'free', 'active', now())
            ON CONFLICT DO NOTHING;
            IF FOUND THEN
                RETURN QUERY
                SELECT orphan.id, orphan.email, orphan.stripe_customer_id, 'created_free_subscription';
            END IF;
        EXCEPTION WHEN OTHERS THEN
            PERFORM leave_out(format('fix_orphaned_stripe_customers: left out user %s: %s', orphan.id, SQLERRM));
        END;
    END LOOP;
END
$$;
