-- Gives the free plan to every user of orphaned_customers and returns them. A second call returns none. What
-- Stripe has for them is reconciliation's business. A user who cannot be given it is named by a warning and left out.
CREATE FUNCTION fix_orphaned_stripe_customers()
RETURNS TABLE (user_id uuid, email text, stripe_customer_id text, action text)
LANGUAGE plpgsql
SET search_path = public, pg_temp
AS $$
#variable_conflict use_column
DECLARE
    orphan record;
BEGIN
    PERFORM pg_advisory_xact_lock(hashtextextended('fix_orphaned_stripe_customers', 0));

    FOR orphan IN
        SELECT o.user_id, o.email, o.stripe_customer_id FROM orphaned_customers AS o ORDER BY o.email, o.user_id
    LOOP
        BEGIN
            INSERT INTO subscriptions (user_id, tier, status, current_period_start)
            VALUES (orphan.user_id, 'free', 'active', now())
            ON CONFLICT DO NOTHING;
            IF FOUND THEN
                user_id := orphan.user_id;
                email := orphan.email;
                stripe_customer_id := orphan.stripe_customer_id;
                action := 'created_free_subscription';
                RETURN NEXT;
            END IF;
        EXCEPTION
            WHEN data_exception OR integrity_constraint_violation OR program_limit_exceeded OR plpgsql_error THEN
                RAISE WARNING 'fix_orphaned_stripe_customers: left out user %: %', orphan.user_id, SQLERRM;
        END;
    END LOOP;
END
$$;
