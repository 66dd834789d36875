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
