CREATE TRIGGER refuse_change BEFORE UPDATE OR DELETE ON mrr_movements
FOR EACH ROW EXECUTE FUNCTION refuse_mrr_movement_change();

CREATE TRIGGER refuse_truncate BEFORE TRUNCATE ON mrr_movements
FOR EACH STATEMENT EXECUTE FUNCTION refuse_mrr_movement_change();
