-- Movements of money are append-only, whoever asks: what was wrong is corrected by another row.
CREATE FUNCTION refuse_payment_movement_change() RETURNS trigger
LANGUAGE plpgsql
SET search_path = public, pg_temp
AS $$
BEGIN
    RAISE EXCEPTION 'payment_movements: rows are append-only'
        USING ERRCODE = 'insufficient_privilege', DETAIL = format('%s was refused.', TG_OP);
END
$$;
