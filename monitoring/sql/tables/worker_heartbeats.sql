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
    CONSTRAINT worker_heartbeats_role_known CHECK (role IN ('pusher', 'worker'))
);
