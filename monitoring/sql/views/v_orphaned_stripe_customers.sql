-- A Stripe customer here without a live subscription row: entitled to nothing although every customer has at least the
-- free tier. Deleted users are meant to have none.
--
-- The planner expects far more of them than there are. Without OFFSET it would look for the first ones in the order
-- that somebody asks for, and try every customer's subscription one by one.
CREATE VIEW v_orphaned_stripe_customers AS
SELECT
    orphan.user_id,
    orphan.email,
    orphan.stripe_customer_id,
    orphan.created_at
FROM (
    SELECT
        u.id AS user_id,
        u.email,
        u.stripe_customer_id,
        u.created_at
    FROM users AS u
    WHERE
        u.stripe_customer_id IS NOT NULL
        AND u.status <> 'deleted'
        AND NOT EXISTS (
            SELECT
            FROM subscriptions AS s
            WHERE
                s.user_id = u.id
                AND s.status IN ('trialing', 'active', 'past_due', 'unpaid', 'paused')
                AND NOT s.is_duplicate
        )
    OFFSET 0 -- noqa: AM09
) AS orphan;
