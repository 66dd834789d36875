-- Frozen by `manage.py database freeze`: a later migration changes what this one made.

SET LOCAL check_function_bodies = off;

DROP TRIGGER audit_deleted ON payment_history;
DROP TRIGGER audit_moved ON payment_history;
CREATE OR REPLACE TRIGGER name_customer BEFORE INSERT ON payment_history
FOR EACH ROW WHEN (new.stripe_customer_id IS NULL AND new.stripe_charge_id IS NOT NULL)
EXECUTE FUNCTION name_stripe_customer();

CREATE OR REPLACE TRIGGER set_updated_at BEFORE UPDATE ON payment_history
FOR EACH ROW WHEN (old.* IS DISTINCT FROM new.*) EXECUTE FUNCTION set_updated_at();

CREATE OR REPLACE TRIGGER book_loaded_totals AFTER INSERT ON payment_history
REFERENCING NEW TABLE AS new_rows
FOR EACH STATEMENT EXECUTE FUNCTION book_payment_totals();

CREATE OR REPLACE TRIGGER book_changed_totals AFTER UPDATE ON payment_history
REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows
FOR EACH STATEMENT EXECUTE FUNCTION book_payment_totals();

DROP TRIGGER audit_deleted ON payment_movements;
CREATE OR REPLACE TRIGGER refuse_change BEFORE UPDATE OR DELETE ON payment_movements
FOR EACH ROW EXECUTE FUNCTION refuse_payment_movement_change();

CREATE OR REPLACE TRIGGER refuse_truncate BEFORE TRUNCATE ON payment_movements
FOR EACH STATEMENT EXECUTE FUNCTION refuse_payment_movement_change();

CREATE OR REPLACE TRIGGER sum_up AFTER INSERT ON payment_movements
REFERENCING NEW TABLE AS new_rows
FOR EACH STATEMENT EXECUTE FUNCTION sum_payment_movements();

DROP INDEX audit_log_former_payment;
DROP INDEX audit_log_former_user;

DROP FUNCTION requests_as_of;

DROP FUNCTION payments_as_of;

DROP FUNCTION customer_as_of;
