-- The subscriptions without the duplicates, which count nowhere. Active and past due ones of paid plans are meant to be
-- paid for now, at most one a customer; the price may still be zero, as after a discount.
CREATE VIEW counted_subscriptions AS
SELECT
    s.id AS subscription_id,
    s.user_id,
    s.tier,
    s.status,
    s.currency,
    s.price_cents AS mrr_cents,
    s.created_at,
    s.status IN ('active', 'past_due') AND s.tier <> 'free' AS is_paid_for
FROM subscriptions AS s
WHERE NOT s.is_duplicate;
