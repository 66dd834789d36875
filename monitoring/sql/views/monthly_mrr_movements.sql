-- The ledger of recurring revenue by calendar month (UTC). What is dated ahead of today does not count yet, as in
-- daily_mrr.
CREATE VIEW monthly_mrr_movements AS
SELECT
    m.id,
    m.user_id,
    m.kind,
    m.currency,
    m.amount_cents,
    m.before_cents,
    m.after_cents,
    m.tier_before,
    m.tier_after,
    date_trunc('month', m.occurred_at AT TIME ZONE 'UTC')::date AS month,
    CASE WHEN m.before_cents = 0 THEN 1 WHEN m.after_cents = 0 THEN -1 ELSE 0 END AS customers
FROM mrr_movements AS m
WHERE m.occurred_at < (date_trunc('day', now() AT TIME ZONE 'UTC') + interval '1 day') AT TIME ZONE 'UTC';
