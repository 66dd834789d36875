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
        JOIN this_database() USING (system_identifier, table_oid)
    )
$$;
