-- Whether this is the database that was told to be production, and no copy of it. A copy runs no schedules and sends
-- nothing.
CREATE FUNCTION is_production() RETURNS boolean
LANGUAGE sql
STABLE
SET search_path = public, pg_temp
AS $$
    SELECT EXISTS (
        SELECT FROM installation
        JOIN this_database() USING (system_identifier, database_oid, database_name)
    )
$$;
