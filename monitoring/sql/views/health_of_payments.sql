-- The check on what is not paid: the share of MRR whose invoices are overdue, without those whose customers were given
-- time. Amounts of different currencies cannot be added, so each currency's share counts by its paying customers.
CREATE VIEW health_of_payments AS
SELECT
    'revenue_at_risk' AS check_name,
    coalesce(round(100 * sum(m.customers * m.at_risk_cents / m.mrr_cents) / sum(m.customers), 2), 0) AS value,
    CASE coalesce(sum(m.customers_at_risk), 0)
        WHEN 0 THEN 'Nothing that counts in MRR is overdue.'
        ELSE format(
            'Paying customers with overdue invoices: %s of %s; the oldest since %s.',
            sum(m.customers_at_risk), sum(m.customers), to_char(min(m.since), 'YYYY-MM-DD')
        )
    END AS message
FROM (
    SELECT
        p.currency,
        count(*) AS customers,
        sum(p.mrr_cents)::numeric AS mrr_cents,
        count(r.overdue_since) AS customers_at_risk,
        coalesce(sum(p.mrr_cents) FILTER (WHERE r.overdue_since IS NOT NULL), 0) AS at_risk_cents,
        min(r.overdue_since) AS since
    FROM paying_subscriptions AS p
    LEFT JOIN (
        SELECT
            v.subscription_id,
            min(v.overdue_since) AS overdue_since
        FROM v_payments_at_risk AS v
        WHERE v.is_extended IS NOT true
        GROUP BY v.subscription_id
    ) AS r ON p.subscription_id = r.subscription_id
    GROUP BY p.currency
) AS m;
