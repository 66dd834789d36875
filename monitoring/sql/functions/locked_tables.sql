-- The tables and views of this database that another session has locked so that nobody can read them.
CREATE FUNCTION locked_tables()
RETURNS TABLE (relname text, pid int)
LANGUAGE sql
STABLE
SET search_path = public, pg_temp
SET work_mem = '16MB'
AS $$
    SELECT c.relname::text, l.pid
    FROM pg_locks AS l
    INNER JOIN pg_database AS d ON l.database = d.oid AND d.datname = current_database()
    INNER JOIN pg_class AS c ON l.relation = c.oid AND c.relkind IN ('r', 'p', 'v', 'S')
    WHERE l.locktype = 'relation' AND l.mode = 'AccessExclusiveLock' AND l.granted AND l.pid <> pg_backend_pid()
    ORDER BY 1, 2
    LIMIT 5
$$;
