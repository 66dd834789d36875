-- Frozen by `manage.py database freeze`: a later migration changes what this one made.

SET LOCAL check_function_bodies = off;

--! tables/staff_sessions
-- The sessions of staff that go on: without its row a session ends at its next request. The id stands in the session
-- and is no way into it.
CREATE TABLE staff_sessions (
    id uuid DEFAULT gen_random_uuid() CONSTRAINT staff_sessions_pkey PRIMARY KEY,
    user_id int NOT NULL CONSTRAINT staff_sessions_user_id_fkey REFERENCES auth_user ON DELETE CASCADE,
    began_at timestamptz NOT NULL DEFAULT now(),
    seen_at timestamptz NOT NULL DEFAULT now(),
    address text,
    browser text,
    CONSTRAINT staff_sessions_texts_bounded CHECK (octet_length(address) <= 200 AND octet_length(browser) <= 800),
    CONSTRAINT staff_sessions_times_plausible CHECK (
        least(began_at, seen_at) >= '1970-01-01 00:00:00+00' AND greatest(began_at, seen_at) < '2200-01-01 00:00:00+00'
    )
);

CREATE INDEX staff_sessions_user_id ON staff_sessions (user_id);

--! functions/end_staff_sessions
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

--! functions/is_reserved_name
-- Whether programs, not people, act under this name in the audit log.
CREATE FUNCTION is_reserved_name(name text) RETURNS boolean
LANGUAGE sql
IMMUTABLE
SET search_path = public, pg_temp
AS $$
    SELECT
        lower(trim(name)) ~ '^(system|api|job|staff)[ ]*:'
        OR starts_with(lower(trim(name)), 'glyphforge_')
        OR lower(trim(name)) IN (
            'api', 'cognito', 'command', 'job', 'migrate', 'postgres', 'repair', 'sign-in', 'single sign-on',
            'stripe', 'system', 'worker'
        )
$$;

--! functions/refuse_reserved_name
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

--! triggers/auth_user
-- A sign-in, which moves last_login, has a row of its own. No columns are named: Django's migrations may change them.
CREATE OR REPLACE TRIGGER audit AFTER INSERT OR UPDATE OR DELETE ON auth_user
FOR EACH ROW EXECUTE FUNCTION audit_row_change('id', 'last_login');

CREATE OR REPLACE TRIGGER end_sessions AFTER UPDATE ON auth_user
FOR EACH ROW EXECUTE FUNCTION end_staff_sessions();

CREATE OR REPLACE TRIGGER name_not_reserved BEFORE INSERT OR UPDATE ON auth_user
FOR EACH ROW EXECUTE FUNCTION refuse_reserved_name();

--! triggers/mfa_authenticator
CREATE OR REPLACE TRIGGER audit AFTER INSERT OR DELETE ON mfa_authenticator
FOR EACH ROW EXECUTE FUNCTION audit_row_change('id', 'last_used_at', 'secret:data');

-- Which code was used last is no change of the factor; another secret is.
CREATE OR REPLACE TRIGGER audit_update AFTER UPDATE ON mfa_authenticator
FOR EACH ROW
WHEN (
    (old.data - '{last_step, used_mask, viewed_at}'::text[])
    IS DISTINCT FROM (new.data - '{last_step, used_mask, viewed_at}'::text[])
    OR (old.id, old.user_id, old.type) IS DISTINCT FROM (new.id, new.user_id, new.type)
)
EXECUTE FUNCTION audit_row_change('id', 'last_used_at', 'secret:data');

CREATE OR REPLACE TRIGGER end_sessions AFTER DELETE ON mfa_authenticator
FOR EACH ROW EXECUTE FUNCTION end_staff_sessions();

CREATE OR REPLACE TRIGGER end_sessions_update AFTER UPDATE ON mfa_authenticator
FOR EACH ROW
WHEN (
    (old.data - '{last_step, used_mask, viewed_at, name}'::text[])
    IS DISTINCT FROM (new.data - '{last_step, used_mask, viewed_at, name}'::text[])
    OR (old.user_id, old.type) IS DISTINCT FROM (new.user_id, new.type)
)
EXECUTE FUNCTION end_staff_sessions();
