-- Subscriptions by tier, status and currency, with what they bring a month. Only those that are paid for bring
-- anything; duplicates are left out. Amounts of different currencies are never added.
CREATE VIEW v_subscription_breakdown AS
SELECT
    s.tier,
    s.status,
    count(*) AS subscriptions,
    coalesce(sum(s.mrr_cents) FILTER (WHERE s.is_paid_for), 0)::bigint AS mrr_cents,
    s.currency,
    concat_ws(' ', s.tier, s.status, s.currency) AS id
FROM counted_subscriptions AS s
GROUP BY s.tier, s.status, s.currency;
