-- Ends every session of an account that got another password, was switched off, or lost or changed a second factor. The
-- one in which its owner did so takes its row anew.
CREATE FUNCTION end_staff_sessions() RETURNS trigger
LANGUAGE plpgsql
SET search_path = public, pg_temp
AS $$
BEGIN
    IF TG_TABLE_NAME = 'mfa_authenticator' THEN
        DELETE FROM staff_sessions AS s WHERE s.user_id = OLD.user_id;
    ELSIF NEW.password IS DISTINCT FROM OLD.password OR NOT NEW.is_active THEN
        DELETE FROM staff_sessions AS s WHERE s.user_id = OLD.id;
    END IF;
    RETURN NULL;
END
$$;
