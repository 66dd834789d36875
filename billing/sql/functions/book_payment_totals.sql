-- No total without its movements: post_payment_totals() for the payments that a statement wrote.
CREATE FUNCTION book_payment_totals() RETURNS trigger
LANGUAGE plpgsql
SET search_path = public, pg_temp
AS $$
DECLARE
    ids CONSTANT uuid[] := ARRAY(SELECT n.id FROM new_rows AS n);
BEGIN
    IF cardinality(ids) > 0 THEN
        PERFORM post_payment_totals(ids, TG_OP = 'INSERT');
    END IF;
    RETURN NULL;
END
$$;
