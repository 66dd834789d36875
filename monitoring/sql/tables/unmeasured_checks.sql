-- The checks that the latest evaluation of the alerts could not measure, and since when: a row goes with the first
-- evaluation that could.
CREATE TABLE unmeasured_checks (
    check_name text CONSTRAINT unmeasured_checks_pkey PRIMARY KEY,
    reason text NOT NULL,
    first_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    CONSTRAINT unmeasured_checks_texts_bounded CHECK (octet_length(check_name) <= 255),
    CONSTRAINT unmeasured_checks_times_plausible CHECK (
        first_at >= '1970-01-01 00:00:00+00' AND first_at < '2200-01-01 00:00:00+00'
    )
);
