-- No total without its movements: post_payment_totals() for the payments whose totals a statement wrote.
CREATE FUNCTION book_payment_totals() RETURNS trigger
LANGUAGE plpgsql
SET search_path = public, pg_temp
AS $$
DECLARE
    ids uuid[];
BEGIN
    IF TG_OP = 'INSERT' THEN
        ids := ARRAY(
            SELECT n.id FROM new_rows AS n
            WHERE n.status NOT IN ('pending', 'failed') OR n.paid_at IS NOT NULL
                OR n.refunded_cents <> 0 OR n.disputed_cents <> 0
        );
    ELSE
        ids := ARRAY(
            SELECT n.id FROM new_rows AS n JOIN old_rows AS o ON o.id = n.id
            WHERE (n.paid_at, n.refunded_cents, n.disputed_cents)
                IS DISTINCT FROM (o.paid_at, o.refunded_cents, o.disputed_cents)
        );
    END IF;
    IF cardinality(ids) > 0 THEN
        PERFORM post_payment_totals(ids, TG_OP = 'INSERT');
    END IF;
    RETURN NULL;
END
$$;
