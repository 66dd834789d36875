-- No account is called as a program is: its deeds would read as the program's in the audit log. Accounts that are
-- called so already keep their name.
CREATE FUNCTION refuse_reserved_name() RETURNS trigger
LANGUAGE plpgsql
SET search_path = public, pg_temp
AS $$
BEGIN
    IF is_reserved_name(NEW.username) AND (TG_OP = 'INSERT' OR NOT is_reserved_name(OLD.username)) THEN
        RAISE EXCEPTION 'auth_user: % is the name of a program', quote_literal(NEW.username)
            USING ERRCODE = 'check_violation', HINT = 'Choose another name for the account.';
    END IF;
    RETURN NEW;
END
$$;
