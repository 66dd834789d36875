-- Writes the totals of the payments that movements were inserted for. The payments are locked first, so that the sums
-- of whoever comes second include the first one's rows.
CREATE FUNCTION sum_payment_movements() RETURNS trigger
LANGUAGE plpgsql
SET search_path = public, pg_temp
AS $$
DECLARE
    ids CONSTANT uuid[] := ARRAY(SELECT DISTINCT n.payment_id FROM new_rows AS n);
    odd record;
BEGIN
    IF cardinality(ids) = 0 THEN
        RETURN NULL;
    END IF;
    PERFORM FROM payment_history AS p WHERE p.id = ANY (ids) ORDER BY p.id FOR NO KEY UPDATE;
    SELECT n.payment_id, n.currency, p.currency AS wanted INTO odd
    FROM new_rows AS n JOIN payment_history AS p ON p.id = n.payment_id
    WHERE n.currency <> p.currency
    LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION 'payment_movements: payment % is in %, not %', odd.payment_id, odd.wanted, odd.currency
            USING ERRCODE = 'check_violation';
    END IF;
    UPDATE payment_history AS p
    SET refunded_cents = t.refunded_cents, disputed_cents = t.disputed_cents, paid_at = t.paid_at
    FROM payment_totals AS t
    WHERE t.payment_id = ANY (ids)
        AND p.id = t.payment_id
        AND (p.refunded_cents, p.disputed_cents, p.paid_at)
        IS DISTINCT FROM (t.refunded_cents, t.disputed_cents, t.paid_at);
    RETURN NULL;
END
$$;
