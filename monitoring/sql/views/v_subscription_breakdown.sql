-- Subscriptions by tier, status and currency, with what they bring a month. Only active and past due ones of a paid
-- tier bring anything; duplicates are left out. Amounts of different currencies are never added.
CREATE VIEW v_subscription_breakdown AS
SELECT
    s.tier,
    s.status,
    count(*) AS subscriptions,
    coalesce(
        sum(s.price_cents) FILTER (WHERE s.tier <> 'free' AND s.status IN ('active', 'past_due')), 0
    )::bigint AS mrr_cents,
    s.currency,
    concat_ws(' ', s.tier, s.status, s.currency) AS id
FROM subscriptions AS s
WHERE NOT s.is_duplicate
GROUP BY s.tier, s.status, s.currency;
