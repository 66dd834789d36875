-- The invoices whose first try to charge them failed, over 13 months, one row each, with what became of each: recovered
-- once it is paid, open while it is owed and can be collected, and else lost. Code and amount are those of the first
-- try. A charge that names no invoice, and that no invoice names, tried the customer's newest of the same amount.
CREATE VIEW failed_invoices AS
SELECT
    f.user_id,
    f.invoice_id AS stripe_invoice_id,
    f.failed_at,
    f.code,
    f.currency,
    f.amount_cents,
    CASE
        WHEN r.recovered_at IS NOT NULL OR i.stripe_data ->> 'status' = 'paid' THEN 'recovered'
        -- The first invoice of a subscription can be paid for a day, before the subscription lives.
        WHEN i.stripe_data ->> 'status' = 'open' AND s.status = 'incomplete' THEN 'open'
        WHEN r.is_pending OR o.status IN ('draft', 'open') THEN 'open'
        ELSE 'lost'
    END AS outcome,
    coalesce(
        r.recovered_at,
        CASE
            WHEN i.stripe_data ->> 'status' = 'paid' AND i.stripe_data #>> '{status_transitions,paid_at}' ~ '^\d{1,10}$'
                THEN to_timestamp((i.stripe_data #>> '{status_transitions,paid_at}')::bigint)
        END
    ) AS recovered_at
FROM (
    SELECT DISTINCT ON (t.invoice_id)
        t.invoice_id,
        t.user_id,
        t.failed_at,
        t.code,
        t.currency,
        t.amount_cents
    FROM (
        SELECT
            p.id,
            p.user_id,
            coalesce(p.stripe_invoice_id, n.id) AS invoice_id,
            p.created_at AS failed_at,
            coalesce(p.decline_code, p.failure_code, 'unknown') AS code,
            p.currency,
            p.amount_cents
        FROM payment_history AS p
        LEFT JOIN LATERAL (
            SELECT v.id
            FROM djstripe_invoice AS v
            WHERE
                p.stripe_invoice_id IS NULL
                AND v.customer_id = p.stripe_customer_id
                AND v.stripe_data ->> 'currency' = p.currency
                AND v.stripe_data ->> 'amount_due' = p.amount_cents::text
                AND v.created <= p.created_at
            ORDER BY v.created DESC, v.id DESC
            LIMIT 1
        ) AS n ON true
        WHERE
            p.status = 'failed'
            AND NOT p.paid_out_of_band
            AND p.created_at >= date_trunc('month', now() AT TIME ZONE 'UTC') AT TIME ZONE 'UTC' - interval '13 months'
    ) AS t
    WHERE t.invoice_id IS NOT NULL
    ORDER BY t.invoice_id, t.failed_at, t.id
) AS f
INNER JOIN LATERAL (
    SELECT
        min(e.paid_at) AS recovered_at,
        coalesce(bool_or(e.status = 'pending'), false) AS is_pending
    FROM payment_history AS e
    WHERE e.stripe_invoice_id = f.invoice_id
) AS r ON true
LEFT JOIN open_invoices AS o ON f.invoice_id = o.stripe_invoice_id
LEFT JOIN djstripe_invoice AS i ON f.invoice_id = i.id
LEFT JOIN subscriptions AS s
    ON coalesce(
        i.stripe_data #>> '{parent,subscription_details,subscription}', i.stripe_data ->> 'subscription'
    ) = s.stripe_subscription_id;
