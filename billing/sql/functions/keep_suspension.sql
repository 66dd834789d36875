-- Remembers a suspension beside the status, which a deletion takes over: who comes back is suspended still. Only making
-- a suspended user active ends it.
CREATE FUNCTION keep_suspension() RETURNS trigger
LANGUAGE plpgsql
SET search_path = public, pg_temp
AS $$
BEGIN
    IF NEW.status = 'suspended' THEN
        NEW.suspended_at := coalesce(NEW.suspended_at, now());
    ELSIF NEW.status = 'active' AND (TG_OP = 'INSERT' OR OLD.status = 'suspended') THEN
        NEW.suspended_at := NULL;
    END IF;
    RETURN NEW;
END
$$;
