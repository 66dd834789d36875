-- Gives payments the movements that their totals say and that are missing, with the origin 'totals'; returns how many.
-- So totals and movements agree whoever wrote the row: an import, COPY, somebody in psql. A charge counts at paid_at; a
-- refund or dispute, of which a total has no date, when the row was last written, but not before the payment.
-- With loaded true the rows were written as a whole: one that counts as paid and says no day was paid when it was made,
-- and of one that is disputed and does not say how much, all that is left is.
CREATE FUNCTION post_payment_totals(payment_ids uuid[], loaded boolean) RETURNS bigint
LANGUAGE plpgsql
SET search_path = public, pg_temp
AS $$
DECLARE
    posted bigint;
BEGIN
    WITH said AS MATERIALIZED (
        SELECT
            p.id,
            coalesce(p.stripe_charge_id, p.stripe_invoice_id, p.id::text) AS object_id,
            p.currency,
            p.amount_cents,
            CASE
                WHEN loaded AND p.status NOT IN ('pending', 'failed') THEN coalesce(p.paid_at, p.created_at)
                ELSE p.paid_at
            END AS paid_at,
            t.paid_at AS booked_at,
            p.refunded_cents - coalesce(t.refunded_cents, 0) AS refunded,
            CASE
                WHEN loaded AND p.status = 'disputed' AND p.disputed_cents = 0 THEN p.amount_cents - p.refunded_cents
                ELSE p.disputed_cents
            END - coalesce(t.disputed_cents, 0) AS disputed,
            greatest(p.updated_at, p.paid_at) AS written_at
        FROM payment_history AS p
        LEFT JOIN payment_totals AS t ON t.payment_id = p.id AND t.payment_id = ANY (payment_ids)
        WHERE p.id = ANY (payment_ids)
    ),
    missing (payment_id, kind, object_id, amount_cents, currency, occurred_at) AS (
        SELECT s.id, 'charge', m.stripe_object_id, -sum(m.amount_cents), s.currency, m.occurred_at
        FROM said AS s
        JOIN payment_movements AS m ON m.payment_id = s.id AND m.kind = 'charge'
        WHERE s.paid_at IS DISTINCT FROM s.booked_at
        GROUP BY s.id, m.stripe_object_id, s.currency, m.occurred_at
        HAVING sum(m.amount_cents) <> 0
        UNION ALL
        SELECT s.id, 'charge', s.object_id, s.amount_cents, s.currency, s.paid_at
        FROM said AS s
        WHERE s.paid_at IS DISTINCT FROM s.booked_at AND s.paid_at IS NOT NULL AND s.amount_cents > 0
        UNION ALL
        SELECT
            s.id, CASE WHEN s.refunded > 0 THEN 'refund' ELSE 'refund_failed' END,
            s.object_id, -s.refunded, s.currency, s.written_at
        FROM said AS s
        WHERE s.refunded <> 0
        UNION ALL
        SELECT
            s.id, CASE WHEN s.disputed > 0 THEN 'dispute' ELSE 'dispute_reversed' END,
            s.object_id, -s.disputed, s.currency, s.written_at
        FROM said AS s
        WHERE s.disputed <> 0
    )
    INSERT INTO payment_movements (
        payment_id, kind, stripe_object_id, number, amount_cents, currency, occurred_at, origin
    )
    SELECT
        w.payment_id,
        w.kind,
        w.object_id,
        coalesce((
            SELECT max(m.number) FROM payment_movements AS m
            WHERE m.payment_id = w.payment_id AND m.kind = w.kind AND m.stripe_object_id = w.object_id
        ), 0) + row_number() OVER (PARTITION BY w.payment_id, w.kind, w.object_id ORDER BY w.occurred_at, w.amount_cents),
        w.amount_cents,
        w.currency,
        w.occurred_at,
        'totals'
    FROM missing AS w;
    GET DIAGNOSTICS posted = ROW_COUNT;
    RETURN posted;
END
$$;
