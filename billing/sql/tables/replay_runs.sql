-- Replays of stored events in the background. position_* is the last event tried; claimed_until keeps a second worker
-- out.
CREATE TABLE replay_runs (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    status text NOT NULL DEFAULT 'running',
    filters jsonb NOT NULL,
    events_per_minute int NOT NULL CONSTRAINT replay_runs_rate_positive CHECK (events_per_minute > 0),
    total int NOT NULL DEFAULT 0,
    processed int NOT NULL DEFAULT 0,
    failed int NOT NULL DEFAULT 0,
    skipped int NOT NULL DEFAULT 0,
    position_at timestamptz,
    position_id uuid,
    claimed_until timestamptz,
    actor text NOT NULL,
    reason text NOT NULL CONSTRAINT replay_runs_reason_given CHECK (reason <> ''),
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    finished_at timestamptz,
    CONSTRAINT replay_runs_status_known CHECK (status IN ('running', 'finished', 'stopped')),
    CONSTRAINT replay_runs_texts_bounded CHECK (octet_length(actor) <= 800 AND octet_length(reason) <= 8192),
    CONSTRAINT replay_runs_times_plausible CHECK (
        least(position_at, claimed_until, created_at, updated_at, finished_at) >= '1970-01-01 00:00:00+00'
        AND greatest(position_at, claimed_until, created_at, updated_at, finished_at) < '2200-01-01 00:00:00+00'
    )
);

CREATE INDEX replay_runs_created_at ON replay_runs (created_at);
CREATE INDEX replay_runs_running ON replay_runs (claimed_until) WHERE status = 'running';
