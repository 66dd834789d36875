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
