-- What the movements of each payment add up to; payment_history repeats it. A payment was paid at the first moment
-- whose charge has not been taken back.
CREATE VIEW payment_totals AS
SELECT
    m.payment_id,
    sum(m.charged)::bigint AS charged_cents,
    sum(m.refunded)::bigint AS refunded_cents,
    sum(m.disputed)::bigint AS disputed_cents,
    CASE WHEN sum(m.charged) > 0 THEN min(m.occurred_at) FILTER (WHERE m.charged > 0) END AS paid_at
FROM (
    SELECT
        booked.payment_id,
        booked.occurred_at,
        coalesce(sum(booked.amount_cents) FILTER (WHERE booked.kind = 'charge'), 0) AS charged,
        coalesce(-sum(booked.amount_cents) FILTER (WHERE booked.kind IN ('refund', 'refund_failed')), 0) AS refunded,
        coalesce(-sum(booked.amount_cents) FILTER (WHERE booked.kind IN ('dispute', 'dispute_reversed')), 0)
            AS disputed
    FROM payment_movements AS booked
    GROUP BY booked.payment_id, booked.occurred_at
) AS m
GROUP BY m.payment_id;
