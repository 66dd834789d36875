-- Frozen by `manage.py database freeze`: a later migration changes what this one made.

SET LOCAL check_function_bodies = off;

--! tables/installation
-- Which database was told to be production, in its one row. A backup takes the row along: where it is found in another
-- database than it names, that one is a copy.
CREATE TABLE installation (
    only_row boolean PRIMARY KEY DEFAULT true CONSTRAINT installation_one_row CHECK (only_row),
    system_identifier bigint NOT NULL,
    database_oid bigint NOT NULL,
    database_name text NOT NULL,
    adopted_at timestamptz NOT NULL DEFAULT now(),
    adopted_by text NOT NULL
);

--! functions/is_production
-- Whether this is the database that was told to be production, and no copy of it. A copy runs no schedules and sends
-- nothing. Every page asks: whoever locks the table is not waited for.
CREATE FUNCTION is_production() RETURNS boolean
LANGUAGE sql
STABLE
SET search_path = public, pg_temp
SET lock_timeout = '500ms'
AS $$
    SELECT EXISTS (
        SELECT FROM installation
        JOIN this_database() USING (system_identifier, database_oid, database_name)
    )
$$;

--! functions/this_database
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
