-- Frozen by `manage.py database freeze`: a later migration changes what this one made.

SET LOCAL check_function_bodies = off;

--! tables/audit_log
ALTER TABLE audit_log DROP CONSTRAINT audit_log_texts_bounded;
ALTER TABLE audit_log ADD COLUMN actor_kind text;
ALTER TABLE audit_log ADD COLUMN db_role text;
ALTER TABLE audit_log ADD CONSTRAINT audit_log_actor_kind_known CHECK (actor_kind IN ('staff', 'system', 'api', 'sql')) NOT VALID;
ALTER TABLE audit_log ADD CONSTRAINT audit_log_texts_bounded CHECK ( octet_length(actor) <= 800 AND octet_length(action) <= 255 AND octet_length(table_name) <= 63 AND octet_length(row_id) <= 800 AND octet_length(request_id) <= 800 AND octet_length(db_role) <= 63 ) NOT VALID;
/* The table is now:
-- Who changed what, when and why; only what changed, secrets masked. Append-only, in monthly partitions (UTC), written
-- by record_audit() alone: a row without db_role was written past it, or by a release before it.
CREATE SEQUENCE audit_log_id_seq AS bigint;

CREATE TABLE audit_log (
    id bigint NOT NULL DEFAULT nextval('audit_log_id_seq'),
    occurred_at timestamptz NOT NULL DEFAULT now(),
    actor text NOT NULL DEFAULT session_user,
    action text NOT NULL,
    table_name text NOT NULL,
    row_id text,
    old_values jsonb,
    new_values jsonb,
    reason text,
    request_id text,
    actor_kind text,
    db_role text,
    CONSTRAINT audit_log_pkey PRIMARY KEY (id, occurred_at),
    CONSTRAINT audit_log_action_given CHECK (action <> ''),
    CONSTRAINT audit_log_actor_given CHECK (actor <> ''),
    CONSTRAINT audit_log_actor_kind_known CHECK (actor_kind IN ('staff', 'system', 'api', 'sql')),
    CONSTRAINT audit_log_occurred_at_plausible
    CHECK (occurred_at >= '1970-01-01 00:00:00+00' AND occurred_at < '2200-01-01 00:00:00+00'),
    CONSTRAINT audit_log_texts_bounded CHECK (
        octet_length(actor) <= 800 AND octet_length(action) <= 255 AND octet_length(table_name) <= 63
        AND octet_length(row_id) <= 800 AND octet_length(request_id) <= 800 AND octet_length(db_role) <= 63
    )
) PARTITION BY RANGE (occurred_at);

ALTER SEQUENCE audit_log_id_seq OWNED BY audit_log.id;

CREATE INDEX audit_log_row ON audit_log (table_name, row_id, occurred_at);
CREATE INDEX audit_log_actor ON audit_log (actor, occurred_at);
CREATE INDEX audit_log_occurred_at ON audit_log (occurred_at);
CREATE INDEX audit_log_table ON audit_log (table_name, occurred_at);
CREATE INDEX audit_log_new_values ON audit_log USING gin (new_values jsonb_path_ops);

CREATE TABLE audit_log_default PARTITION OF audit_log DEFAULT;
*/

--! tables/audit_seals
-- The seals of the audit log, a chain: each covers the ids from from_id to to_id and the seal before it, so that who
-- changes a row has to change every seal since, and none of the anchors that left the house would fit. row_ids,
-- row_times and row_digests say which row is not as it was: sha256 is over them. Append-only, written by
-- seal_audit_log() alone.
CREATE TABLE audit_seals (
    to_id bigint CONSTRAINT audit_seals_pkey PRIMARY KEY,
    from_id bigint NOT NULL,
    rows bigint NOT NULL,
    sha256 bytea NOT NULL,
    previous bytea NOT NULL,
    sealed_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    row_ids bigint[] NOT NULL,
    row_times timestamptz[] NOT NULL,
    row_digests bytea[] NOT NULL,
    CONSTRAINT audit_seals_previous_key UNIQUE (previous),
    CONSTRAINT audit_seals_range_in_order CHECK (from_id <= to_id),
    CONSTRAINT audit_seals_hashes_whole CHECK (octet_length(sha256) = 32 AND octet_length(previous) = 32),
    CONSTRAINT audit_seals_rows_told CHECK (
        cardinality(row_ids) = rows AND cardinality(row_times) = rows AND cardinality(row_digests) = rows
    ),
    CONSTRAINT audit_seals_times_plausible CHECK (
        sealed_at >= '1970-01-01 00:00:00+00' AND sealed_at < '2200-01-01 00:00:00+00'
    )
);

--! tables/read_log
-- Who of staff looked at whose data, apart from what was changed: there are more of them, and they are kept for less
-- time. Written by record_read() alone.
CREATE TABLE read_log (
    id bigint GENERATED ALWAYS AS IDENTITY CONSTRAINT read_log_pkey PRIMARY KEY,
    occurred_at timestamptz NOT NULL DEFAULT now(),
    actor text NOT NULL,
    table_name text NOT NULL,
    row_id text NOT NULL,
    request_id text,
    db_role text NOT NULL,
    CONSTRAINT read_log_texts_bounded CHECK (
        octet_length(actor) <= 800 AND octet_length(table_name) <= 63 AND octet_length(row_id) <= 800
        AND octet_length(request_id) <= 800 AND octet_length(db_role) <= 63
    ),
    CONSTRAINT read_log_times_plausible CHECK (
        occurred_at >= '1970-01-01 00:00:00+00' AND occurred_at < '2200-01-01 00:00:00+00'
    )
);

CREATE INDEX read_log_row ON read_log (table_name, row_id, occurred_at);
CREATE INDEX read_log_actor ON read_log (actor, occurred_at);
CREATE INDEX read_log_occurred_at ON read_log (occurred_at);

--! functions/audit_digests
-- SHA-256 of all that an audit row says, of each row of a range of ids. The same wherever the row lies, whatever the
-- session's settings, and after dump and restore. `as_id` asks what it would be if that were the row's id.
CREATE FUNCTION audit_digests(first_id bigint, last_id bigint, as_id bigint DEFAULT NULL)
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

--! functions/audit_row_change
-- Writes who changed a row, and only what changed, into audit_log by record_audit(). The first argument names the
-- table's key column; the others name its counters, which like updated_at are no changes. Secrets and hashes are
-- masked, by the name of their column; so is a column that an argument names with `secret:` before it.
CREATE OR REPLACE FUNCTION audit_row_change() RETURNS trigger
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = public, pg_temp
SET timezone = 'UTC'
AS $$
DECLARE
    before jsonb := CASE WHEN TG_OP <> 'INSERT' THEN to_jsonb(OLD) END;
    after jsonb := CASE WHEN TG_OP <> 'DELETE' THEN to_jsonb(NEW) END;
    key text := coalesce(after, before) ->> TG_ARGV[0];
    not_audited CONSTANT text[] := array_append(TG_ARGV[1:], 'updated_at');
    old_values jsonb;
    new_values jsonb;
BEGIN
    SELECT
        jsonb_object_agg(c.name, CASE WHEN c.is_secret THEN '"[masked]"' ELSE before -> c.name END)
            FILTER (WHERE jsonb_typeof(before -> c.name) <> 'null' OR TG_OP = 'UPDATE'),
        jsonb_object_agg(c.name, CASE WHEN c.is_secret THEN '"[masked]"' ELSE after -> c.name END)
            FILTER (WHERE jsonb_typeof(after -> c.name) <> 'null' OR TG_OP = 'UPDATE')
    INTO old_values, new_values
    FROM (
        SELECT k.name, k.name ~ '(hash|secret|password|token)' OR 'secret:' || k.name = ANY (TG_ARGV) AS is_secret
        FROM jsonb_object_keys(coalesce(after, before)) AS k (name)
    ) AS c
    WHERE c.name <> ALL (not_audited) AND before -> c.name IS DISTINCT FROM after -> c.name;

    IF TG_OP = 'UPDATE' AND new_values IS NULL THEN
        RETURN NULL;
    END IF;
    PERFORM record_audit(
        lower(TG_OP),
        TG_TABLE_NAME::text,
        key,
        CASE WHEN TG_OP <> 'INSERT' THEN old_values END,
        CASE WHEN TG_OP <> 'DELETE' THEN new_values END
    );
    RETURN NULL;
END
$$;

REVOKE EXECUTE ON FUNCTION audit_row_change() FROM public;

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

--! functions/cleanup_read_log
-- Removes what staff looked at more than `days` days ago; returns how many rows. Only the owner may go below 90 days.
CREATE FUNCTION cleanup_read_log(days int DEFAULT 90) RETURNS bigint
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

--! functions/is_owner_of
-- Whether who calls may do what the owner of the table may, also from inside a function that runs with the owner's
-- rights: what counts is the role that was set, else the one that logged in.
CREATE FUNCTION is_owner_of(relation regclass) RETURNS boolean
LANGUAGE sql
STABLE
SET search_path = public, pg_temp
AS $$
    SELECT pg_has_role(coalesce(nullif(current_setting('role'), 'none'), session_user)::name, c.relowner, 'USAGE')
    FROM pg_class AS c
    WHERE c.oid = relation::oid
$$;

--! functions/record_audit
-- Writes one row into audit_log; returns its id. Nobody but this function may write there: the time is the
-- transaction's, db_role the role that logged in, whatever the caller says. Actor, kind of actor, reason and request id
-- come from the settings app.actor, app.actor_kind, app.reason and app.request_id, cut to 200 characters (the reason to
-- 2,000). Without an actor the role that logged in stands; without a kind that is known it is `sql`: somebody at the
-- database itself.
CREATE FUNCTION record_audit(
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

--! functions/record_read
-- Writes into read_log that the actor of the settings (see record_audit) looked at a row; without one the role that
-- logged in stands.
CREATE FUNCTION record_read(table_name text, row_id text) RETURNS void
LANGUAGE sql
SECURITY DEFINER
SET search_path = public, pg_temp
AS $$
    INSERT INTO read_log (actor, table_name, row_id, request_id, db_role)
    VALUES (
        coalesce(nullif(left(current_setting('app.actor', true), 200), ''), session_user),
        record_read.table_name,
        record_read.row_id,
        nullif(left(current_setting('app.request_id', true), 200), ''),
        session_user
    )
$$;

REVOKE EXECUTE ON FUNCTION record_read(text, text) FROM public;

--! functions/refuse_audit_change
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

--! functions/refuse_seal_change
-- A seal stays as it was made.
CREATE FUNCTION refuse_seal_change() RETURNS trigger
LANGUAGE plpgsql
SET search_path = public, pg_temp
AS $$
BEGIN
    RAISE EXCEPTION 'audit_seals: seals are append-only'
        USING ERRCODE = 'insufficient_privilege', DETAIL = format('%s was refused.', TG_OP);
END
$$;

--! functions/seal_audit_log
-- Seals the rows of audit_log that no seal covers yet, up to `most_rows` and at most 10,000 a seal; returns how many
-- rows. To be called every few minutes. A second caller waits. Writers never wait.  An id is handed out before its row
-- is committed. So the goal is the last id, read before the transactions that hold a writer's lock on audit_log: once
-- those have ended, no row up to the goal can appear any more. They are waited for as many seconds, in which nothing is
-- locked; then nothing is sealed, and the next call tries again.
CREATE FUNCTION seal_audit_log(most_rows int DEFAULT 100000, wait_seconds int DEFAULT 10) RETURNS bigint
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = public, pg_temp
AS $$
#variable_conflict use_column
DECLARE
    most_in_a_seal CONSTANT int := 10000;
    ends_at CONSTANT timestamptz := clock_timestamp() + make_interval(secs => wait_seconds::double precision);
    sealed bigint := 0;
    goal bigint;
    writers text[];
    wanted int;
    last_id bigint;
    seal audit_seals;
BEGIN
    IF most_rows IS NULL OR most_rows < 1 THEN
        RAISE EXCEPTION 'seal_audit_log: most_rows must be at least 1, not %', coalesce(most_rows::text, 'NULL')
            USING ERRCODE = 'invalid_parameter_value';
    END IF;
    IF wait_seconds IS NULL OR wait_seconds NOT BETWEEN 0 AND 60 THEN
        RAISE EXCEPTION 'seal_audit_log: wait_seconds must be between 0 and 60, not %', coalesce(wait_seconds::text, 'NULL')
            USING ERRCODE = 'invalid_parameter_value';
    END IF;
    IF current_setting('transaction_isolation') <> 'read committed' THEN
        RAISE EXCEPTION 'seal_audit_log: needs read committed, not %', current_setting('transaction_isolation')
            USING ERRCODE = 'invalid_transaction_state',
                  DETAIL = 'An older snapshot would miss rows that were committed since.';
    END IF;
    PERFORM pg_advisory_xact_lock(hashtextextended('audit_log seals', 0));

    goal := (SELECT CASE WHEN s.is_called THEN s.last_value ELSE 0 END FROM audit_log_id_seq AS s);
    writers := ARRAY(
        SELECT DISTINCT l.virtualtransaction
        FROM pg_locks AS l
        WHERE l.mode = 'RowExclusiveLock'
            AND l.locktype = 'relation'
            AND l.database = (SELECT d.oid FROM pg_database AS d WHERE d.datname = current_database())
            AND l.relation IN (SELECT t.relid::oid FROM pg_partition_tree('audit_log') AS t)
            AND l.pid IS DISTINCT FROM pg_backend_pid()
    );
    WHILE EXISTS (SELECT FROM pg_locks AS l WHERE l.virtualtransaction = ANY (writers)) LOOP
        IF clock_timestamp() >= ends_at THEN
            RETURN 0;
        END IF;
        PERFORM pg_sleep(0.1);
    END LOOP;

    SELECT s.to_id, s.sha256 INTO seal.to_id, seal.previous FROM audit_seals AS s ORDER BY s.to_id DESC LIMIT 1;
    seal.previous := coalesce(seal.previous, sha256(''::bytea));
    LOOP
        seal.from_id := coalesce(seal.to_id, 0) + 1;
        wanted := least(most_in_a_seal, most_rows - sealed)::int;
        last_id := (
            SELECT max(e.id)
            FROM (
                SELECT a.id FROM audit_log AS a WHERE a.id BETWEEN seal.from_id AND goal ORDER BY a.id LIMIT wanted
            ) AS e
        );
        SELECT
            count(*),
            array_agg(d.id ORDER BY d.id),
            array_agg(d.occurred_at ORDER BY d.id),
            array_agg(d.digest ORDER BY d.id)
        INTO seal.rows, seal.row_ids, seal.row_times, seal.row_digests
        FROM audit_digests(seal.from_id, last_id) AS d;
        EXIT WHEN seal.rows = 0;
        -- Of a seal that is full the rest of the ids is the next one's.
        seal.to_id := CASE WHEN seal.rows < wanted THEN goal ELSE last_id END;
        seal.sealed_at := clock_timestamp();
        seal.sha256 := seal_hash(seal);
        INSERT INTO audit_seals SELECT seal.*;
        seal.previous := seal.sha256;
        sealed := sealed + seal.rows;
        EXIT WHEN sealed >= most_rows OR seal.to_id >= goal;
    END LOOP;
    RETURN sealed;
END
$$;

REVOKE EXECUTE ON FUNCTION seal_audit_log(int, int) FROM public;

--! functions/seal_hash
-- What a seal holds as sha256: over the seal before it, its range, its time, and of each row id, time and digest, in
-- this order; times are microseconds since 1970.
CREATE FUNCTION seal_hash(seal audit_seals) RETURNS bytea
LANGUAGE sql
STABLE
SET search_path = public, pg_temp
AS $$
    SELECT sha256(
        seal.previous || int8send(seal.from_id) || int8send(seal.to_id)
        || int8send((extract(EPOCH FROM seal.sealed_at) * 1000000::numeric)::bigint)
        || string_agg(
            int8send(r.id) || int8send((extract(EPOCH FROM r.occurred_at) * 1000000::numeric)::bigint) || r.digest,
            ''::bytea ORDER BY r.n
        )
    )
    FROM unnest(seal.row_ids, seal.row_times, seal.row_digests) WITH ORDINALITY AS r (id, occurred_at, digest, n)
$$;

--! triggers/audit_seals
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON audit_seals
FOR EACH ROW EXECUTE FUNCTION refuse_seal_change();

CREATE TRIGGER append_only_truncate BEFORE TRUNCATE ON audit_seals
FOR EACH STATEMENT EXECUTE FUNCTION refuse_seal_change();
