-- Frozen by `manage.py database freeze`: a later migration changes what this one made.

SET LOCAL check_function_bodies = off;

--! views/v_revenue_metrics
-- One row, also in an empty database. MRR is what subscriptions in active and past_due pay a month: no trials, no free
-- tier, no duplicates, no taxes. Months are calendar months in UTC. Revenue is what came in, gross: before refunds,
-- disputes and fees, in the month of its settlement. What was refunded stands beside it, in the month of the refund,
-- and so does what disputes took, less what came back. All are sums of payment_movements. All amounts are in one
-- currency, the one most customers pay in; customers_in_other_currencies says how many pay in another.
CREATE OR REPLACE VIEW v_revenue_metrics AS
WITH paying AS MATERIALIZED (
    SELECT
        s.currency,
        count(DISTINCT s.user_id) AS customers,
        sum(s.mrr_cents)::bigint AS mrr_cents
    FROM paying_subscriptions AS s
    GROUP BY s.currency
),

payments AS MATERIALIZED (
    SELECT
        p.currency,
        count(*) AS payments,
        sum(p.amount_cents) FILTER (WHERE p.kind = 'charge' AND p.is_this_month) AS this_month_cents,
        sum(p.amount_cents) FILTER (WHERE p.kind = 'charge' AND NOT p.is_this_month) AS last_month_cents,
        -sum(p.amount_cents) FILTER (WHERE p.kind IN ('refund', 'refund_failed') AND p.is_this_month) AS refunded_cents,
        -sum(p.amount_cents) FILTER (WHERE p.kind IN ('dispute', 'dispute_reversed') AND p.is_this_month)
            AS disputed_cents,
        count(*) FILTER (WHERE p.kind = 'failed') AS failed
    FROM (
        SELECT
            m.currency,
            m.kind,
            m.amount_cents,
            m.occurred_at >= date_trunc('month', now() AT TIME ZONE 'UTC') AT TIME ZONE 'UTC' AS is_this_month
        FROM payment_movements AS m
        WHERE
            m.occurred_at >= (date_trunc('month', now() AT TIME ZONE 'UTC') - interval '1 month') AT TIME ZONE 'UTC'
            AND m.occurred_at < (date_trunc('month', now() AT TIME ZONE 'UTC') + interval '1 month') AT TIME ZONE 'UTC'
        UNION ALL
        SELECT
            h.currency,
            'failed' AS kind,
            0 AS amount_cents,
            true AS is_this_month
        FROM payment_history AS h
        WHERE
            h.status = 'failed'
            AND h.created_at >= date_trunc('month', now() AT TIME ZONE 'UTC') AT TIME ZONE 'UTC'
            AND h.created_at < (date_trunc('month', now() AT TIME ZONE 'UTC') + interval '1 month') AT TIME ZONE 'UTC'
    ) AS p
    GROUP BY p.currency
),

reporting AS (
    SELECT used.currency
    FROM (
        SELECT
            1 AS preference,
            paying.customers AS uses,
            paying.currency
        FROM paying
        UNION ALL
        SELECT
            2 AS preference,
            payments.payments AS uses,
            payments.currency
        FROM payments
        UNION ALL
        SELECT
            3 AS preference,
            0 AS uses,
            'usd' AS currency
    ) AS used
    ORDER BY used.preference ASC, used.uses DESC, used.currency = 'usd' DESC, used.currency ASC
    LIMIT 1
)

SELECT
    coalesce(paying.mrr_cents, 0) AS mrr_cents,
    coalesce(paying.mrr_cents, 0) * 12 AS arr_cents,
    coalesce(round(paying.mrr_cents::numeric / paying.customers), 0)::bigint AS arpu_cents,
    coalesce(paying.customers, 0) AS paying_customers,
    coalesce(payments.this_month_cents, 0)::bigint AS revenue_this_month_cents,
    coalesce(payments.last_month_cents, 0)::bigint AS revenue_last_month_cents,
    coalesce(payments.refunded_cents, 0)::bigint AS refunded_this_month_cents,
    coalesce(payments.failed, 0) AS failed_payments_this_month,
    reporting.currency,
    (
        SELECT coalesce(sum(other.customers), 0)::bigint
        FROM paying AS other
        WHERE other.currency <> reporting.currency
    ) AS customers_in_other_currencies,
    coalesce(payments.disputed_cents, 0)::bigint AS disputed_this_month_cents
FROM reporting
LEFT JOIN paying ON reporting.currency = paying.currency
LEFT JOIN payments ON reporting.currency = payments.currency;

--! indexes/payment_history
DROP INDEX payment_history_effective_at;
