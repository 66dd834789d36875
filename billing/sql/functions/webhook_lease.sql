-- For how long who claimed an event may take: after that its worker counts as dead.
CREATE FUNCTION webhook_lease() RETURNS interval
LANGUAGE sql
IMMUTABLE
SET search_path = public, pg_temp
AS $$ SELECT interval '15 minutes' $$;
