-- What every run of a maintenance job did. A row is also the job's lock: one running row per job, one row per slot, so
-- that any number of schedulers on any number of machines run a slot once and never overlap.
CREATE TABLE job_runs (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    job text NOT NULL,
    scheduled_for timestamptz NOT NULL DEFAULT clock_timestamp(),
    status text NOT NULL DEFAULT 'running',
    started_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    finished_at timestamptz,
    rows_affected bigint,
    detail jsonb NOT NULL DEFAULT '{}',
    error text,
    "trigger" text NOT NULL DEFAULT 'manual',
    -- The running process extends this; when it passes, the process is dead and the run failed.
    lease_until timestamptz NOT NULL DEFAULT clock_timestamp() + interval '20 minutes',
    attempts int NOT NULL DEFAULT 1,
    worker text,
    CONSTRAINT job_runs_slot UNIQUE (job, scheduled_for),
    CONSTRAINT job_runs_job_given CHECK (job <> ''),
    CONSTRAINT job_runs_status_known CHECK (status IN ('running', 'succeeded', 'failed', 'skipped')),
    CONSTRAINT job_runs_detail_object CHECK (jsonb_typeof(detail) = 'object'),
    CONSTRAINT job_runs_attempts_positive CHECK (attempts > 0),
    CONSTRAINT job_runs_texts_bounded CHECK (
        octet_length(job) <= 63 AND octet_length(worker) <= 255 AND octet_length("trigger") <= 255
    ),
    CONSTRAINT job_runs_times_plausible CHECK (
        least(scheduled_for, started_at, finished_at, lease_until) >= '1970-01-01 00:00:00+00'
        AND greatest(scheduled_for, started_at, finished_at, lease_until) < '2200-01-01 00:00:00+00'
    )
);

CREATE UNIQUE INDEX job_runs_one_running ON job_runs (job) WHERE status = 'running';
CREATE INDEX job_runs_started_at ON job_runs (started_at DESC);
CREATE INDEX job_runs_job ON job_runs (job, started_at DESC) INCLUDE (status, finished_at);

-- The back office's sorts and filters.
CREATE INDEX job_runs_status ON job_runs (status, started_at DESC);
