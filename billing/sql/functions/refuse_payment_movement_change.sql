-- Movements of money are append-only, whoever asks: what was wrong is corrected by another row. They go with their
-- payment, which is gone already when the cascade reaches them.
CREATE FUNCTION refuse_payment_movement_change() RETURNS trigger
LANGUAGE plpgsql
SET search_path = public, pg_temp
AS $$
BEGIN
    IF TG_OP = 'DELETE' AND NOT EXISTS (SELECT FROM payment_history AS p WHERE p.id = OLD.payment_id) THEN
        RETURN OLD;
    END IF;
    RAISE EXCEPTION 'payment_movements: rows are append-only'
        USING ERRCODE = 'insufficient_privilege', DETAIL = format('%s was refused.', TG_OP);
END
$$;
