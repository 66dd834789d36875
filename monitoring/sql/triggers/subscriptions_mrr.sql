-- Named to fire after the audit trigger, whose row the movement refers to.
CREATE TRIGGER book_mrr_when_added AFTER INSERT ON subscriptions
FOR EACH ROW WHEN (new.price_cents > 0)
EXECUTE FUNCTION book_mrr_movement();

CREATE TRIGGER book_mrr_when_changed AFTER UPDATE ON subscriptions
FOR EACH ROW
WHEN (
    old.price_cents + new.price_cents > 0
    AND (old.user_id, old.tier, old.status, old.price_cents, old.currency, old.is_duplicate)
    IS DISTINCT FROM (new.user_id, new.tier, new.status, new.price_cents, new.currency, new.is_duplicate)
)
EXECUTE FUNCTION book_mrr_movement();

CREATE TRIGGER book_mrr_when_removed AFTER DELETE ON subscriptions
FOR EACH ROW WHEN (old.price_cents > 0)
EXECUTE FUNCTION book_mrr_movement();
