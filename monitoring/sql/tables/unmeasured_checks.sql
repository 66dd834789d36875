-- The checks that the latest evaluation of the alerts could not measure, and since when: a row goes with the first
-- evaluation that could.
CREATE TABLE unmeasured_checks (
    check_name text CONSTRAINT unmeasured_checks_pkey PRIMARY KEY,
    reason text NOT NULL,
    first_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
