-- What counts as recurring revenue: at most one row a customer. Trials, free plans and duplicates do not count.
CREATE VIEW paying_subscriptions AS
SELECT
    s.id AS subscription_id,
    s.user_id,
    s.tier,
    s.currency,
    s.price_cents AS mrr_cents
FROM subscriptions AS s
WHERE s.status IN ('active', 'past_due') AND NOT s.is_duplicate AND s.tier <> 'free' AND s.price_cents > 0;
