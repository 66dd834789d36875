-- What tells this database from every other that was not copied by its files: its server's identifier, which a standby
-- shares and a new server does not (https://www.postgresql.org/docs/current/functions-info.html), and the number that
-- the table got when it was made here. The name is for readers.
CREATE FUNCTION this_database()
RETURNS TABLE (system_identifier bigint, table_oid bigint, database_name text)
LANGUAGE sql
STABLE
SET search_path = public, pg_temp
AS $$
    SELECT server.system_identifier, 'installation'::regclass::oid::bigint, current_database()::text
    FROM pg_control_system() AS server
$$;
