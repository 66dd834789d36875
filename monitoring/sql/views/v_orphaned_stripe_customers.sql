-- The orphaned customers, whom fix_orphaned_stripe_customers() gives the free plan.
--
-- The planner expects far more of them than there are. Without OFFSET it would look for the first ones in the order
-- that somebody asks for, and try every customer's subscription one by one.
CREATE VIEW v_orphaned_stripe_customers AS
SELECT
    o.user_id,
    o.email,
    o.stripe_customer_id,
    o.created_at
FROM orphaned_customers AS o
OFFSET 0; -- noqa: AM09
