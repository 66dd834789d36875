-- Prices that live subscriptions have and no plan claims any more. Their subscribers keep the plan that they had.
CREATE VIEW unclaimed_prices AS
SELECT
    s.stripe_price_id,
    count(*) AS subscribers
FROM subscriptions AS s
INNER JOIN stripe_catalogue AS p ON s.stripe_price_id = p.stripe_id
LEFT JOIN stripe_catalogue AS c ON p.stripe_product_id = c.stripe_id
LEFT JOIN plan_prices AS m ON s.stripe_price_id = m.stripe_price_id
LEFT JOIN plan_prices AS d ON p.stripe_product_id = d.stripe_price_id
WHERE
    s.status IN ('trialing', 'active', 'past_due', 'unpaid', 'paused')
    AND coalesce(m.tier, d.tier, p.named_tier, c.named_tier) IS NULL
GROUP BY s.stripe_price_id;
