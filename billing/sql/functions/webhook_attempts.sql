-- How often an event is tried before it is dead.
CREATE FUNCTION webhook_attempts() RETURNS int
LANGUAGE sql
IMMUTABLE
SET search_path = public, pg_temp
AS $$ SELECT 8 $$;
