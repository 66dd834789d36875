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
