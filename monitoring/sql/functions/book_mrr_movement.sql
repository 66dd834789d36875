-- The trigger that keeps the ledger: whoever changes a subscription, by whatever means, is booked.
CREATE FUNCTION book_mrr_movement() RETURNS trigger
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = public, pg_temp
AS $$
BEGIN
    IF TG_OP <> 'INSERT' AND (TG_OP = 'DELETE' OR OLD.user_id <> NEW.user_id) THEN
        PERFORM book_mrr_difference(OLD.user_id, OLD.id);
    END IF;
    IF TG_OP <> 'DELETE' THEN
        PERFORM book_mrr_difference(NEW.user_id, NEW.id);
    END IF;
    RETURN NULL;
END
$$;

REVOKE EXECUTE ON FUNCTION book_mrr_movement() FROM public;
