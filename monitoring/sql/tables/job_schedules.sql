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
    switched_off_at timestamptz,
    switched_off_by text,
    CONSTRAINT job_schedules_times_positive CHECK (timeout_seconds > 0 AND interval_seconds > 0 AND grace_seconds > 0),
    CONSTRAINT job_schedules_job_plain CHECK (job ~ '^[a-z][a-z0-9_]*$'),
    CONSTRAINT job_schedules_texts_bounded CHECK (octet_length(job) <= 63 AND octet_length(cron) <= 255),
    CONSTRAINT job_schedules_times_plausible CHECK (
        least(next_due_at, updated_at, switched_off_at) >= '1970-01-01 00:00:00+00'
        AND greatest(next_due_at, updated_at, switched_off_at) < '2200-01-01 00:00:00+00'
    )
);
