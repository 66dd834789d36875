-- Frozen by `manage.py database freeze`: a later migration changes what this one made.

SET LOCAL check_function_bodies = off;

--! functions/audit_digest
-- SHA-256 of all that an audit row says. The same wherever the row lies, whatever the session's settings, and after
-- dump and restore. `as_id` asks what it would be if that were the row's id.
CREATE FUNCTION audit_digest(entry audit_log, as_id bigint DEFAULT NULL) RETURNS bytea
LANGUAGE sql
STABLE
SET search_path = public, pg_temp
AS $$
    SELECT sha256(convert_to(jsonb_build_array(
        coalesce(as_id, entry.id),
        extract(EPOCH FROM entry.occurred_at),
        entry.actor,
        entry.actor_kind,
        entry.db_role,
        entry.action,
        entry.table_name,
        entry.row_id,
        entry.old_values,
        entry.new_values,
        entry.reason,
        entry.request_id
    )::text, 'UTF8'))
$$;

--! functions/audit_digests
-- SHA-256 of all that an audit row says, of each row of a range of ids; `as_id` as for audit_digest().
CREATE OR REPLACE FUNCTION audit_digests(first_id bigint, last_id bigint, as_id bigint DEFAULT NULL)
RETURNS TABLE (id bigint, occurred_at timestamptz, digest bytea)
LANGUAGE sql
STABLE
SET search_path = public, pg_temp
AS $$
    SELECT a.id, a.occurred_at, audit_digest(a, as_id)
    FROM audit_log AS a
    WHERE a.id BETWEEN first_id AND last_id
$$;

--! functions/cleanup_audit_log
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

--! functions/cleanup_read_log
-- Removes what staff looked at more than `days` days ago; returns how many rows. Only the owner may go below 90 days.
CREATE OR REPLACE FUNCTION cleanup_read_log(days int DEFAULT 90) RETURNS bigint
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = public, pg_temp
SET timezone = 'UTC'
SET datestyle = 'ISO'
AS $$
DECLARE
    cutoff CONSTANT timestamptz := retention_cutoff('cleanup_read_log', days);
BEGIN
    IF days < 90 AND NOT is_owner_of('read_log') THEN
        RAISE EXCEPTION 'cleanup_read_log: days must be at least 90, not %', days
            USING ERRCODE = 'insufficient_privilege', HINT = 'Only the owner of read_log may keep less.';
    END IF;
    RETURN delete_rows('read_log', format('occurred_at < %L', cutoff));
END
$$;

REVOKE EXECUTE ON FUNCTION cleanup_read_log(int) FROM public;

--! functions/erase_audit_values
-- Puts the old_values, new_values and reason of the given rows in place of what those rows say; returns how many rows
-- changed. It is for what a person has a right to have forgotten. A row of its own in the log, action `erasure`, holds
-- for each changed row the digest of before and after: seals.verify() takes a row whose digest leads from the sealed
-- one to the present one over such rows, and no other. It runs with the rights of who calls it: the owner's functions.
CREATE FUNCTION erase_audit_values(erased audit_log[]) RETURNS bigint
LANGUAGE plpgsql
SET search_path = public, pg_temp
AS $$
DECLARE
    digests jsonb;
    changed bigint;
BEGIN
    -- Whether a row is sealed must not change meanwhile.
    PERFORM pg_advisory_xact_lock(hashtextextended('audit_log seals', 0));
    digests := (
        SELECT jsonb_object_agg(d.id::text, jsonb_build_array(encode(d.before, 'hex'), encode(d.after, 'hex')))
        FROM (
            SELECT
                a.id,
                audit_digest(a) AS before,
                audit_digest(e::audit_log) AS after
            FROM unnest(erased) AS e
            JOIN audit_log AS a ON e.id = a.id AND e.occurred_at = a.occurred_at
        ) AS d
        WHERE d.before <> d.after
    );
    IF digests IS NULL THEN
        RETURN 0;
    END IF;
    PERFORM write_audit(
        'erasure', 'audit_log', pg_current_xact_id()::text, NULL, jsonb_build_object('rows', digests)
    );
    UPDATE audit_log AS a
    SET old_values = e.old_values, new_values = e.new_values, reason = e.reason
    FROM unnest(erased) AS e
    WHERE a.id = e.id AND a.occurred_at = e.occurred_at AND digests ? a.id::text;
    GET DIAGNOSTICS changed = ROW_COUNT;
    RETURN changed;
END
$$;

--! functions/record_audit
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
BEGIN
    IF table_name = 'audit_log' AND NOT is_owner_of('audit_log') THEN
        RAISE EXCEPTION 'record_audit: what happens to audit_log is recorded by what does it'
            USING ERRCODE = 'insufficient_privilege', HINT = 'Name the table that was changed.';
    END IF;
    RETURN write_audit(action, table_name, row_id, old_values, new_values);
END
$$;

REVOKE EXECUTE ON FUNCTION record_audit(text, text, text, jsonb, jsonb) FROM public;

--! functions/refuse_audit_change
-- A row goes in two cases only. Retention removes it: then this transaction has a row in the log that says up to when,
-- which cleanup_audit_log() writes. Or it moves from the default partition to that of its month, which is being made
-- and hangs at no parent yet. What it says of a person may be erased: then this transaction has a row that names it,
-- which erase_audit_values() writes. No setting opens anything.
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
    ELSIF TG_OP = 'UPDATE' THEN
        IF to_jsonb(NEW) - '{old_values,new_values,reason}'::text[]
            = to_jsonb(OLD) - '{old_values,new_values,reason}'::text[]
            AND EXISTS (
                SELECT FROM audit_log AS a
                WHERE a.table_name = 'audit_log'
                    AND a.row_id = pg_current_xact_id()::text
                    AND a.occurred_at = now()
                    AND a.action = 'erasure'
                    AND a.new_values -> 'rows' ? OLD.id::text
            )
        THEN
            RETURN NEW;
        END IF;
    END IF;
    RAISE EXCEPTION 'audit_log: rows are append-only'
        USING ERRCODE = 'insufficient_privilege', DETAIL = format('%s on %s was refused.', TG_OP, TG_TABLE_NAME);
END
$$;

--! functions/row_as_of
-- A row of an audited table as it was at a moment, as JSON without its masked columns' values: what the log says that
-- was changed since is undone, the last change first. `today` is the row as it is, NULL where there is none now.
-- Returns NULL when there was none then. Columns that the audit leaves out are today's; but updated_at, which is when
-- the row was last changed before, and null where the log does not reach back to that.
--
-- A change counts from the moment at which its transaction began. Of two changes of one row the one with the higher id
-- was made later, even if its transaction began earlier: from the first change after the moment on all are undone.
CREATE FUNCTION row_as_of(relation text, key text, today jsonb, at timestamptz) RETURNS jsonb
LANGUAGE plpgsql
STABLE
SET search_path = public, pg_temp
SET timezone = 'UTC'
AS $$
DECLARE
    -- "+ 0": by the index of the row, not along the ids of the whole log until one of the row comes.
    first_since CONSTANT bigint := (
        SELECT min(a.id + 0) FROM audit_log AS a
        WHERE a.table_name = relation AND a.row_id = key AND a.occurred_at > at
            AND a.action IN ('insert', 'update', 'delete')
    );
    state jsonb := today;
    change record;
BEGIN
    IF first_since IS NULL THEN
        RETURN state;
    END IF;
    FOR change IN
        SELECT a.action, a.old_values FROM audit_log AS a
        WHERE a.table_name = relation AND a.row_id = key AND a.id >= first_since
            AND a.action IN ('insert', 'update', 'delete')
        ORDER BY a.id DESC
    LOOP
        state := CASE change.action
            WHEN 'update' THEN state || change.old_values
            WHEN 'delete' THEN change.old_values
        END;
    END LOOP;
    RETURN state || jsonb_build_object('updated_at', (
        SELECT max(a.occurred_at) FROM audit_log AS a
        WHERE a.table_name = relation AND a.row_id = key AND a.id < first_since
            AND a.action IN ('insert', 'update')
    ));
END
$$;

--! functions/write_audit
-- Writes one row into audit_log, as record_audit() says, of any table; returns its id. It runs with the rights of who
-- calls it: nobody but the owner's functions may write there.
CREATE FUNCTION write_audit(
    action text,
    table_name text,
    row_id text DEFAULT NULL,
    old_values jsonb DEFAULT NULL,
    new_values jsonb DEFAULT NULL
) RETURNS bigint
LANGUAGE plpgsql
SET search_path = public, pg_temp
AS $$
#variable_conflict use_variable
DECLARE
    said CONSTANT text := nullif(left(current_setting('app.actor', true), 200), '');
    written bigint;
BEGIN
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
