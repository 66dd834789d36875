-- Signs of life of the queue's processes, one row each: the pusher's says that the queue is read, a worker's says what
-- it does. Who was stopped stays as it was last seen.
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
    stopped_at timestamptz,
    CONSTRAINT worker_heartbeats_process UNIQUE (host, pid),
    CONSTRAINT worker_heartbeats_role_known CHECK (role IN ('pusher', 'worker')),
    CONSTRAINT worker_heartbeats_texts_bounded CHECK (octet_length(host) <= 255),
    CONSTRAINT worker_heartbeats_times_plausible CHECK (
        least(started_at, seen_at, pulled_at, task_deadline_at, stopped_at) >= '1970-01-01 00:00:00+00'
        AND greatest(started_at, seen_at, pulled_at, task_deadline_at, stopped_at) < '2200-01-01 00:00:00+00'
    )
);
