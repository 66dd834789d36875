-- Frozen by `manage.py database freeze`: a later migration changes what this one made.

SET LOCAL check_function_bodies = off;

ALTER TABLE audit_log DROP CONSTRAINT audit_log_actor_kind_known;
ALTER TABLE audit_log DROP CONSTRAINT audit_log_texts_bounded;
ALTER TABLE audit_log DROP COLUMN actor_kind;
ALTER TABLE audit_log DROP COLUMN db_role;
ALTER TABLE audit_log ADD CONSTRAINT audit_log_texts_bounded CHECK ( octet_length(actor) <= 800 AND octet_length(action) <= 255 AND octet_length(table_name) <= 63 AND octet_length(row_id) <= 800 AND octet_length(request_id) <= 800 ) NOT VALID;
/* The table is now:
-- Who changed what, when and why; only what changed, secrets masked. Append-only, in monthly partitions (UTC).
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
    CONSTRAINT audit_log_pkey PRIMARY KEY (id, occurred_at),
    CONSTRAINT audit_log_action_given CHECK (action <> ''),
    CONSTRAINT audit_log_actor_given CHECK (actor <> ''),
    CONSTRAINT audit_log_occurred_at_plausible
    CHECK (occurred_at >= '1970-01-01 00:00:00+00' AND occurred_at < '2200-01-01 00:00:00+00'),
    CONSTRAINT audit_log_texts_bounded CHECK (
        octet_length(actor) <= 800 AND octet_length(action) <= 255 AND octet_length(table_name) <= 63
        AND octet_length(row_id) <= 800 AND octet_length(request_id) <= 800
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

-- Writes who changed a row, and only what changed, into audit_log. The first argument names the table's key column; the
-- others name its counters, which like updated_at are no changes. Actor, reason and request id come from the settings
-- app.actor, app.reason and app.request_id, cut to 200 characters (the reason to 2,000); without an actor the session's
-- role stands. Secrets and hashes are masked.
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
    secret CONSTANT text := '(hash|secret|password|token)';
    old_values jsonb;
    new_values jsonb;
BEGIN
    SELECT
        jsonb_object_agg(c.name, CASE WHEN c.name ~ secret THEN '"[masked]"' ELSE before -> c.name END)
            FILTER (WHERE jsonb_typeof(before -> c.name) <> 'null' OR TG_OP = 'UPDATE'),
        jsonb_object_agg(c.name, CASE WHEN c.name ~ secret THEN '"[masked]"' ELSE after -> c.name END)
            FILTER (WHERE jsonb_typeof(after -> c.name) <> 'null' OR TG_OP = 'UPDATE')
    INTO old_values, new_values
    FROM jsonb_object_keys(coalesce(after, before)) AS c (name)
    WHERE c.name <> ALL (not_audited) AND before -> c.name IS DISTINCT FROM after -> c.name;

    IF TG_OP = 'UPDATE' AND new_values IS NULL THEN
        RETURN NULL;
    END IF;
    INSERT INTO audit_log (actor, action, table_name, row_id, old_values, new_values, reason, request_id)
    VALUES (
        coalesce(nullif(left(current_setting('app.actor', true), 200), ''), session_user),
        lower(TG_OP),
        TG_TABLE_NAME,
        key,
        CASE WHEN TG_OP <> 'INSERT' THEN old_values END,
        CASE WHEN TG_OP <> 'DELETE' THEN new_values END,
        nullif(left(current_setting('app.reason', true), 2000), ''),
        nullif(left(current_setting('app.request_id', true), 200), '')
    );
    RETURN NULL;
END
$$;

REVOKE EXECUTE ON FUNCTION audit_row_change() FROM public;

-- Removes audit rows that are more than `days` days old, whole months by dropping their partition, up to 24 at a call;
-- returns how many rows.
CREATE OR REPLACE FUNCTION cleanup_audit_log(days int DEFAULT 365) RETURNS bigint
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = public, pg_temp
SET quote_all_identifiers = off
AS $$
DECLARE
    cutoff CONSTANT timestamptz := retention_cutoff('cleanup_audit_log', days);
    held jsonb;
    dropped text[];
    deleted bigint;
BEGIN
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
    PERFORM set_config('app.audit_retention', 'on', true);
    DELETE FROM audit_log AS a
    WHERE a.occurred_at < cutoff
        AND a.tableoid NOT IN (
            SELECT p.partition::oid FROM monthly_partitions('audit_log'::regclass) AS p WHERE p.closes <= cutoff
        );
    GET DIAGNOSTICS deleted = ROW_COUNT;
    PERFORM set_config('app.audit_retention', '', true);
    dropped := drop_partitions_before('audit_log'::regclass, cutoff);
    RETURN deleted + (SELECT coalesce(sum((held ->> d.partition)::bigint), 0)::bigint FROM unnest(dropped) AS d (partition));
END
$$;

REVOKE EXECUTE ON FUNCTION cleanup_audit_log(int) FROM public;

-- Only retention and the draining of the default partition, run by the table's owner, may remove rows; they set
-- app.audit_retention for their own duration.
CREATE OR REPLACE FUNCTION refuse_audit_change() RETURNS trigger
LANGUAGE plpgsql
SET search_path = public, pg_temp
AS $$
BEGIN
    IF TG_OP = 'DELETE'
        AND current_setting('app.audit_retention', true) = 'on'
        AND pg_has_role((SELECT c.relowner FROM pg_class AS c WHERE c.oid = TG_RELID), 'USAGE')
    THEN
        RETURN OLD;
    END IF;
    RAISE EXCEPTION 'audit_log: rows are append-only'
        USING ERRCODE = 'insufficient_privilege', DETAIL = format('%s on %s was refused.', TG_OP, TG_TABLE_NAME);
END
$$;

DROP TRIGGER append_only_truncate ON audit_seals;
DROP TRIGGER append_only ON audit_seals;

DROP FUNCTION seal_hash;

DROP FUNCTION seal_audit_log;

DROP FUNCTION record_read;

DROP FUNCTION record_audit;

DROP FUNCTION is_owner_of;

DROP FUNCTION cleanup_read_log;

DROP FUNCTION audit_digests;

DROP TABLE read_log;

DROP TABLE audit_seals;

DROP FUNCTION refuse_seal_change;
