-- Fills what the writer of a subscription left open: the plan's limit, also after a change of tier that named no new
-- limit, and the moment of a cancellation.
CREATE FUNCTION complete_subscription() RETURNS trigger
LANGUAGE plpgsql
SET search_path = public, pg_temp
AS $$
BEGIN
    IF (TG_OP = 'INSERT' AND NEW.monthly_request_limit IS NULL)
        OR (TG_OP = 'UPDATE' AND NEW.tier <> OLD.tier
            AND NEW.monthly_request_limit IS NOT DISTINCT FROM OLD.monthly_request_limit)
    THEN
        NEW.monthly_request_limit := (SELECT p.monthly_request_limit FROM plans AS p WHERE p.tier = NEW.tier);
    END IF;
    IF NEW.status = 'canceled' AND NEW.canceled_at IS NULL THEN
        NEW.canceled_at := now();
    END IF;
    RETURN NEW;
END
$$;
