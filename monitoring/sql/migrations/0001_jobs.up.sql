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
    CONSTRAINT job_runs_attempts_positive CHECK (attempts > 0)
);

CREATE UNIQUE INDEX job_runs_one_running ON job_runs (job) WHERE status = 'running';
CREATE INDEX job_runs_started_at ON job_runs (started_at DESC);
CREATE INDEX job_runs_job ON job_runs (job, started_at DESC) INCLUDE (status, finished_at);

-- The back office's sorts and filters.
CREATE INDEX job_runs_status ON job_runs (status, started_at DESC);
-- When each job should run, in numbers that SQL can compare: a mirror of the registry and of what operators changed in
-- the schedules. A job whose next slot passed by more than its grace was missed.
CREATE TABLE job_schedules (
    job text PRIMARY KEY,
    description text NOT NULL,
    cron text NOT NULL,
    enabled boolean NOT NULL DEFAULT true,
    timeout_seconds int NOT NULL,
    interval_seconds int NOT NULL,
    grace_seconds int NOT NULL,
    next_due_at timestamptz,
    updated_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT job_schedules_times_positive CHECK (timeout_seconds > 0 AND interval_seconds > 0 AND grace_seconds > 0)
);
-- Signs of life of the queue's processes, one row each: the pusher's says that the queue is read, a worker's says what
-- it does.
CREATE TABLE worker_heartbeats (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    host text NOT NULL,
    pid int NOT NULL,
    cluster_pid int NOT NULL,
    role text NOT NULL,
    started_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    seen_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    pulled_at timestamptz,
    task text,
    task_deadline_at timestamptz,
    CONSTRAINT worker_heartbeats_process UNIQUE (host, pid),
    CONSTRAINT worker_heartbeats_role_known CHECK (role IN ('pusher', 'worker'))
);
