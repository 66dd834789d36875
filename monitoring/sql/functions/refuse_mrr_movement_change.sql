-- The ledger is append-only, save for netting within one transaction and for rebuild_mrr_history().
CREATE FUNCTION refuse_mrr_movement_change() RETURNS trigger
LANGUAGE plpgsql
SET search_path = public, pg_temp
AS $$
BEGIN
    IF TG_OP = 'DELETE'
        AND (OLD.transaction_id = pg_current_xact_id() OR current_setting('app.rebuild_mrr_history', true) = 'on')
    THEN
        RETURN OLD;
    END IF;
    RAISE EXCEPTION 'mrr_movements: rows are append-only'
        USING ERRCODE = 'insufficient_privilege', DETAIL = format('%s was refused.', TG_OP);
END
$$;
