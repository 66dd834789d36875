-- What tells this database from every other: its server's identifier, which a standby shares and a new server does not,
-- and its own number and name there: https://www.postgresql.org/docs/current/functions-info.html
CREATE FUNCTION this_database()
RETURNS TABLE (system_identifier bigint, database_oid bigint, database_name text)
LANGUAGE sql
STABLE
SET search_path = public, pg_temp
AS $$
    SELECT server.system_identifier, d.oid::bigint, d.datname::text
    FROM pg_control_system() AS server, pg_database AS d
    WHERE d.datname = current_database()
$$;
