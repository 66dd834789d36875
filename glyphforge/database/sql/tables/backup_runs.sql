-- Each backup and each restore drill that ended, well or badly; a missing row is what the age check is for.
CREATE TABLE backup_runs (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    kind text NOT NULL CONSTRAINT backup_runs_kind_known CHECK (kind IN ('backup', 'drill')),
    status text NOT NULL CONSTRAINT backup_runs_status_known CHECK (status IN ('succeeded', 'failed')),
    file text NOT NULL,
    bytes bigint,
    row_count bigint,
    error text,
    started_at timestamptz NOT NULL,
    finished_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT backup_runs_error_explains_failure CHECK ((status = 'failed') = (error IS NOT NULL)),
    CONSTRAINT backup_runs_ends_after_start CHECK (finished_at >= started_at),
    CONSTRAINT backup_runs_times_plausible CHECK (
        least(started_at, finished_at) >= '1970-01-01 00:00:00+00'
        AND greatest(started_at, finished_at) < '2200-01-01 00:00:00+00'
    )
);

CREATE INDEX backup_runs_latest ON backup_runs (kind, finished_at DESC) INCLUDE (status);
