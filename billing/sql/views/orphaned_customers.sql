-- A Stripe customer here without a live subscription row: entitled to nothing although every customer has at least the
-- free tier. Deleted users are meant to have none.
CREATE VIEW orphaned_customers AS
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
        FROM live_subscriptions AS s
        WHERE s.user_id = u.id AND NOT s.is_duplicate
    );
