-- Frozen by `manage.py database freeze`: a later migration changes what this one made.

SET LOCAL check_function_bodies = off;

-- SHA-256 of all that an audit row says, of each row of a range of ids. The same wherever the row lies, whatever the
-- session's settings, and after dump and restore. `as_id` asks what it would be if that were the row's id.
CREATE OR REPLACE FUNCTION audit_digests(first_id bigint, last_id bigint, as_id bigint DEFAULT NULL)
RETURNS TABLE (id bigint, occurred_at timestamptz, digest bytea)
LANGUAGE sql
STABLE
SET search_path = public, pg_temp
AS $$
    SELECT
        a.id,
        a.occurred_at,
        sha256(convert_to(jsonb_build_array(
            coalesce(as_id, a.id),
            extract(EPOCH FROM a.occurred_at),
            a.actor,
            a.actor_kind,
            a.db_role,
            a.action,
            a.table_name,
            a.row_id,
            a.old_values,
            a.new_values,
            a.reason,
            a.request_id
        )::text, 'UTF8'))
    FROM audit_log AS a
    WHERE a.id BETWEEN first_id AND last_id
$$;

-- Removes audit rows that are more than `days` days old, whole months by dropping their partition, up to 24 at a call;
-- returns how many rows. Only the owner of the log may go below 365 days. What was removed is a row of its own in the
-- log, with the moment before which rows may be missing: without it refuse_audit_change() lets none go.
CREATE OR REPLACE FUNCTION cleanup_audit_log(days int DEFAULT 365) RETURNS bigint
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
        PERFORM record_audit(
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

-- Removes what staff looked at more than `days` days ago; returns how many rows. Only the owner may go below 90 days.
CREATE OR REPLACE FUNCTION cleanup_read_log(days int DEFAULT 90) RETURNS bigint
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = public, pg_temp
AS $$
DECLARE
    cutoff CONSTANT timestamptz := retention_cutoff('cleanup_read_log', days);
    deleted bigint;
BEGIN
    IF days < 90 AND NOT is_owner_of('read_log') THEN
        RAISE EXCEPTION 'cleanup_read_log: days must be at least 90, not %', days
            USING ERRCODE = 'insufficient_privilege', HINT = 'Only the owner of read_log may keep less.';
    END IF;
    DELETE FROM read_log AS r WHERE r.occurred_at < cutoff;
    GET DIAGNOSTICS deleted = ROW_COUNT;
    RETURN deleted;
END
$$;

REVOKE EXECUTE ON FUNCTION cleanup_read_log(int) FROM public;

-- Writes one row into audit_log; returns its id. Nobody but this function may write there: the time is the
-- transaction's, db_role the role that logged in, whatever the caller says. Actor, kind of actor, reason and request id
-- come from the settings app.actor, app.actor_kind, app.reason and app.request_id, cut to 200 characters (the reason to
-- 2,000). Without an actor the role that logged in stands; without a kind that is known it is `sql`: somebody at the
-- database itself.
CREATE OR REPLACE FUNCTION record_audit(
    action text,
    table_name text,
    row_id text DEFAULT NULL,
    old_values jsonb DEFAULT NULL,
    new_values jsonb DEFAULT NULL
) RETURNS bigint
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = public, pg_temp
AS $$
#variable_conflict use_variable
DECLARE
    said CONSTANT text := nullif(left(current_setting('app.actor', true), 200), '');
    written bigint;
BEGIN
    IF table_name = 'audit_log' AND NOT is_owner_of('audit_log') THEN
        RAISE EXCEPTION 'record_audit: what happens to audit_log is recorded by what does it'
            USING ERRCODE = 'insufficient_privilege', HINT = 'Name the table that was changed.';
    END IF;
    INSERT INTO audit_log (
        actor, actor_kind, db_role, action, table_name, row_id, old_values, new_values, reason, request_id
    )
    VALUES (
        coalesce(said, session_user),
        CASE
            WHEN said IS NOT NULL AND current_setting('app.actor_kind', true) IN ('staff', 'system', 'api')
                THEN current_setting('app.actor_kind', true)
            ELSE 'sql'
        END,
        session_user,
        action,
        table_name,
        row_id,
        old_values,
        new_values,
        nullif(left(current_setting('app.reason', true), 2000), ''),
        nullif(left(current_setting('app.request_id', true), 200), '')
    )
    RETURNING id INTO written;
    RETURN written;
END
$$;

REVOKE EXECUTE ON FUNCTION record_audit(text, text, text, jsonb, jsonb) FROM public;

-- A row goes in two cases only. Retention removes it: then this transaction has a row in the log that says up to when,
-- which cleanup_audit_log() writes. Or it moves from the default partition to that of its month, which is being made
-- and hangs at no parent yet. No setting opens anything.
CREATE OR REPLACE FUNCTION refuse_audit_change() RETURNS trigger
LANGUAGE plpgsql
SET search_path = public, pg_temp
SET timezone = 'UTC'
AS $$
BEGIN
    IF TG_OP = 'DELETE' THEN
        IF EXISTS (
            SELECT FROM audit_log AS a
            WHERE a.table_name = 'audit_log'
                AND a.row_id = pg_current_xact_id()::text
                AND a.occurred_at = now()
                AND a.action = 'retention'
                AND (a.new_values ->> 'before')::timestamptz > OLD.occurred_at
        ) OR (
            TG_TABLE_NAME = 'audit_log_default'
            AND EXISTS (
                SELECT FROM pg_class AS c
                WHERE c.oid = to_regclass(partition_name('audit_log'::regclass, OLD.occurred_at::date))::oid
                    AND NOT c.relispartition
            )
        )
        THEN
            RETURN OLD;
        END IF;
    END IF;
    RAISE EXCEPTION 'audit_log: rows are append-only'
        USING ERRCODE = 'insufficient_privilege', DETAIL = format('%s on %s was refused.', TG_OP, TG_TABLE_NAME);
END
$$;

DROP FUNCTION write_audit;

DROP FUNCTION row_as_of;

DROP FUNCTION erase_audit_values;

DROP FUNCTION audit_digest;
