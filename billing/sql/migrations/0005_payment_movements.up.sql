-- Gives the payments of an existing installation their movements: run once payment_movements, its functions and its
-- triggers are there. Payments that have movements are left alone, so it may be run again.
-- A charge counts at paid_at. Refunds and disputes are taken from the mirror where it has them; what it does not have
-- was refunded, or disputed, when the payment was last written. The next sync of a payment brings Stripe's own dates.
CREATE TEMPORARY TABLE mirrored (
    charge_id text, kind text, object_id text, cents bigint, at timestamptz
) ON COMMIT DROP;

DO $$
BEGIN
    IF to_regclass('public.djstripe_refund') IS NOT NULL THEN
        INSERT INTO mirrored
        SELECT
            r.stripe_data ->> 'charge', 'refund', r.id,
            -(r.stripe_data ->> 'amount')::bigint, to_timestamp((r.stripe_data ->> 'created')::bigint)
        FROM public.djstripe_refund AS r
        WHERE r.stripe_data ->> 'charge' IS NOT NULL AND coalesce(r.stripe_data ->> 'status', '') NOT IN ('failed', 'canceled');
    END IF;
    IF to_regclass('public.djstripe_dispute') IS NOT NULL THEN
        INSERT INTO mirrored
        SELECT
            d.stripe_data ->> 'charge',
            CASE WHEN (l.line ->> 'amount')::bigint < 0 THEN 'dispute' ELSE 'dispute_reversed' END,
            d.id,
            CASE
                WHEN l.line ->> 'currency' = d.stripe_data ->> 'currency' THEN (l.line ->> 'amount')::bigint
                ELSE sign((l.line ->> 'amount')::bigint)::int * (d.stripe_data ->> 'amount')::bigint
            END,
            to_timestamp((l.line ->> 'created')::bigint)
        FROM public.djstripe_dispute AS d
        CROSS JOIN jsonb_array_elements(d.stripe_data::jsonb -> 'balance_transactions') AS l (line)
        WHERE coalesce(l.line ->> 'reporting_category', '') <> 'fee' AND (l.line ->> 'amount')::bigint <> 0;
        INSERT INTO mirrored
        SELECT
            d.stripe_data ->> 'charge', 'dispute', d.id,
            -(d.stripe_data ->> 'amount')::bigint, to_timestamp((d.stripe_data ->> 'created')::bigint)
        FROM public.djstripe_dispute AS d
        WHERE
            d.stripe_data ->> 'status' IN ('needs_response', 'under_review', 'lost')
            AND NOT EXISTS (SELECT FROM mirrored AS m WHERE m.object_id = d.id);
    END IF;
END
$$;

WITH bare AS MATERIALIZED (
    SELECT
        p.*,
        coalesce(p.stripe_charge_id, p.stripe_invoice_id, p.id::text) AS object_id,
        greatest(p.updated_at, p.paid_at) AS written_at,
        coalesce((
            SELECT -sum(m.cents) FROM mirrored AS m
            WHERE m.charge_id = p.stripe_charge_id AND m.kind = 'refund'
        ), 0) AS mirrored_refunds
    FROM payment_history AS p
    WHERE NOT EXISTS (
        SELECT FROM payment_movements AS m
        WHERE m.payment_id = p.id
    )
),

-- Of a payment whose mirrored refunds are more than it says, some failed since: its own word counts.
summed AS (
    SELECT
        b.*,
        CASE WHEN b.mirrored_refunds <= b.refunded_cents THEN b.mirrored_refunds ELSE 0 END AS known_refunds
    FROM bare AS b
),

facts (payment_id, kind, object_id, cents, currency, at, origin) AS (
    SELECT
        b.id,
        'charge',
        b.object_id,
        b.amount_cents,
        b.currency,
        coalesce(b.paid_at, b.created_at),
        'totals'
    FROM summed AS b
    WHERE b.amount_cents > 0 AND (b.paid_at IS NOT NULL OR b.status NOT IN ('pending', 'failed'))
    UNION ALL
    SELECT
        b.id,
        m.kind,
        m.object_id,
        m.cents,
        b.currency,
        m.at,
        'stripe'
    FROM summed AS b INNER JOIN mirrored AS m ON b.stripe_charge_id = m.charge_id
    WHERE b.status NOT IN ('pending', 'failed') AND (m.kind <> 'refund' OR b.known_refunds > 0)
    UNION ALL
    SELECT
        b.id,
        'refund',
        b.object_id,
        b.known_refunds - b.refunded_cents,
        b.currency,
        b.written_at,
        'totals'
    FROM summed AS b
    WHERE b.refunded_cents > b.known_refunds
    UNION ALL
    SELECT
        b.id,
        'dispute',
        b.object_id,
        b.refunded_cents - b.amount_cents,
        b.currency,
        b.written_at,
        'totals'
    FROM summed AS b
    WHERE
        b.status = 'disputed' AND b.amount_cents > b.refunded_cents
        AND NOT EXISTS (
            SELECT FROM mirrored AS m
            WHERE m.charge_id = b.stripe_charge_id AND m.kind = 'dispute'
        )
)

INSERT INTO payment_movements (
    payment_id, kind, stripe_object_id, number, amount_cents, currency, occurred_at, origin
)
SELECT
    f.payment_id,
    f.kind,
    f.object_id,
    row_number() OVER (PARTITION BY f.payment_id, f.kind, f.object_id ORDER BY f.at, f.cents) AS number,
    f.cents,
    f.currency,
    f.at,
    f.origin
FROM facts AS f;
