-- When somebody last asked /readyz, in one row: who watches from outside is missed when he stays away.
CREATE TABLE readiness_requests (
    only_row boolean PRIMARY KEY DEFAULT true CONSTRAINT readiness_requests_one_row CHECK (only_row),
    asked_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    CONSTRAINT readiness_requests_times_plausible CHECK (
        asked_at >= '1970-01-01 00:00:00+00' AND asked_at < '2200-01-01 00:00:00+00'
    )
);
