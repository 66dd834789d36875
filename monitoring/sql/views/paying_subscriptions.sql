-- What counts as recurring revenue: at most one row a customer. Trials, free plans and duplicates do not count.
CREATE VIEW paying_subscriptions AS
SELECT
    s.subscription_id,
    s.user_id,
    s.tier,
    s.currency,
    s.mrr_cents
FROM counted_subscriptions AS s
WHERE s.is_paid_for AND s.mrr_cents > 0;
