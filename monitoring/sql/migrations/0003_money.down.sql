-- Frozen by `manage.py database freeze`: a later migration changes what this one made.

SET LOCAL check_function_bodies = off;

DO $$ BEGIN DROP TABLE IF EXISTS pg_temp.kept_rights; END $$;
CREATE TEMPORARY TABLE kept_rights ON COMMIT DROP AS
SELECT
    c.relname,
    format(
        'GRANT %s ON %I TO %s', a.privilege_type, c.relname,
        CASE a.grantee WHEN 0 THEN 'public' ELSE quote_ident(pg_get_userbyid(a.grantee)) END
    ) AS statement
FROM pg_class AS c
CROSS JOIN aclexplode(c.relacl) AS a
WHERE c.relnamespace = 'public'::regnamespace AND c.relname IN ('v_revenue_metrics') AND a.grantee <> c.relowner;

DROP VIEW v_revenue_metrics;

-- v_revenue_metrics: a payment that Stripe dated counts then, another one when it was written.
CREATE INDEX payment_history_effective_at ON payment_history ((coalesce(paid_at, created_at)));

-- One row, also in an empty database. MRR is what subscriptions in active and past_due pay a month: no trials, no free
-- tier, no duplicates, no taxes. Months are calendar months in UTC. Revenue is what was collected, before refunds and
-- disputes; refunds stand beside it, in the month of the payment they reduce. All amounts are in one currency, the one
-- most customers pay in; how many pay in another is the last column.
CREATE VIEW v_revenue_metrics AS
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
        sum(p.amount_cents) FILTER (WHERE p.is_this_month AND p.is_collected) AS this_month_cents,
        sum(p.amount_cents) FILTER (WHERE NOT p.is_this_month AND p.is_collected) AS last_month_cents,
        sum(p.refunded_cents) FILTER (WHERE p.is_this_month) AS refunded_cents,
        count(*) FILTER (WHERE p.is_this_month AND p.status = 'failed') AS failed
    FROM (
        SELECT
            h.currency,
            h.amount_cents,
            h.refunded_cents,
            h.status,
            h.status NOT IN ('pending', 'failed') AS is_collected,
            coalesce(h.paid_at, h.created_at)
            >= date_trunc('month', now() AT TIME ZONE 'UTC') AT TIME ZONE 'UTC' AS is_this_month
        FROM payment_history AS h
        WHERE
            coalesce(h.paid_at, h.created_at)
            >= (date_trunc('month', now() AT TIME ZONE 'UTC') - interval '1 month') AT TIME ZONE 'UTC'
            AND coalesce(h.paid_at, h.created_at)
            < (date_trunc('month', now() AT TIME ZONE 'UTC') + interval '1 month') AT TIME ZONE 'UTC'
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
    ) AS customers_in_other_currencies
FROM reporting
LEFT JOIN paying ON reporting.currency = paying.currency
LEFT JOIN payments ON reporting.currency = payments.currency;

--!
DO $$
DECLARE
    kept record;
BEGIN
    -- A view that is gone has no rights.
    FOR kept IN SELECT k.statement FROM kept_rights AS k WHERE to_regclass(quote_ident(k.relname)) IS NOT NULL LOOP
        EXECUTE kept.statement;
    END LOOP;
    -- Another migration of this transaction may keep rights, too.
    DROP TABLE kept_rights;
END
$$;
