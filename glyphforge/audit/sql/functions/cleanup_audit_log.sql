-- Removes audit rows that are more than `days` days old, whole months by dropping their partition, up to 24 at a call;
-- returns how many rows. Only the owner of the log may go below 365 days. What was removed is a row of its own in the
-- log, with the moment before which rows may be missing: without it refuse_audit_change() lets none go.
CREATE FUNCTION cleanup_audit_log(days int DEFAULT 365) RETURNS bigint
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = public, pg_temp
SET timezone = 'UTC'
SET quote_all_identifiers = off
AS $$
DECLARE
    cutoff CONSTANT timestamptz := retention_cutoff('cleanup_audit_log', days);
    held jsonb;
    dropped text[];
    deleted bigint;
BEGIN
    IF days < 365 AND NOT is_owner_of('audit_log') THEN
        RAISE EXCEPTION 'cleanup_audit_log: days must be at least 365, not %', days
            USING ERRCODE = 'insufficient_privilege', HINT = 'Only the owner of audit_log may keep less.';
    END IF;
    PERFORM pg_advisory_xact_lock(hashtextextended('audit_log partitions', 0));

    held := (
        SELECT jsonb_object_agg(c.partition, c.held)
        FROM (
            SELECT a.tableoid::regclass::text AS partition, count(*) AS held
            FROM audit_log AS a
            WHERE a.tableoid IN (
                SELECT p.partition::oid FROM monthly_partitions('audit_log'::regclass) AS p WHERE p.closes <= cutoff
            )
            GROUP BY a.tableoid
        ) AS c
    );
    deleted := (
        SELECT count(*)
        FROM audit_log AS a
        WHERE a.occurred_at < cutoff
            AND a.tableoid NOT IN (
                SELECT p.partition::oid FROM monthly_partitions('audit_log'::regclass) AS p WHERE p.closes <= cutoff
            )
    );
    IF deleted > 0 OR held IS NOT NULL THEN
        PERFORM write_audit(
            'retention', 'audit_log', pg_current_xact_id()::text, NULL,
            jsonb_build_object(
                'before', cutoff, 'days', days, 'rows', deleted, 'months', coalesce(held, '{}'::jsonb)
            )
        );
    END IF;
    IF deleted > 0 THEN
        DELETE FROM audit_log AS a
        WHERE a.occurred_at < cutoff
            AND a.tableoid NOT IN (
                SELECT p.partition::oid FROM monthly_partitions('audit_log'::regclass) AS p WHERE p.closes <= cutoff
            );
        GET DIAGNOSTICS deleted = ROW_COUNT;
    END IF;
    dropped := drop_partitions_before('audit_log'::regclass, cutoff);
    RETURN deleted + (SELECT coalesce(sum((held ->> d.partition)::bigint), 0)::bigint FROM unnest(dropped) AS d (partition));
END
$$;

REVOKE EXECUTE ON FUNCTION cleanup_audit_log(int) FROM public;
