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
