-- Up to how many partitions a table gets for stray months. A query that reads all of them locks each with its indexes:
-- more than a quarter of the server's lock table (https://www.postgresql.org/docs/current/runtime-config-locks.html) is
-- too much for one, as beyond the whole all fail with "out of shared memory", the fold and the backup among them. And
-- more than twenty years of them make the first insert of a session, which reads them all, slow.
CREATE FUNCTION max_partitions(parent regclass) RETURNS int
LANGUAGE sql
STABLE
SET search_path = public, pg_temp
AS $$
    SELECT least(
        240,
        current_setting('max_locks_per_transaction')::int * current_setting('max_connections')::int / 4
        / (1 + (SELECT count(*)::int FROM pg_index AS i WHERE i.indrelid = parent::oid))
    )
$$;
