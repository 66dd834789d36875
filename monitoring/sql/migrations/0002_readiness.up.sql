-- Frozen by `manage.py database freeze`: a later migration changes what this one made.

SET LOCAL check_function_bodies = off;

--! tables/readiness_requests
-- When somebody last asked /readyz, in one row: who watches from outside is missed when he stays away.
CREATE TABLE readiness_requests (
    only_row boolean PRIMARY KEY DEFAULT true CONSTRAINT readiness_requests_one_row CHECK (only_row),
    asked_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
