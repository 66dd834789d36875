-- Takeovers of a Stripe account that has a past: one row a run, whatever number of times it was interrupted.
CREATE TABLE stripe_backfills (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    status text NOT NULL DEFAULT 'running',
    requests bigint NOT NULL DEFAULT 0,
    error text,
    actor text NOT NULL,
    reason text NOT NULL,
    started_at timestamptz NOT NULL DEFAULT now(),
    finished_at timestamptz,
    CONSTRAINT stripe_backfills_status_known CHECK (status IN ('running', 'finished', 'failed')),
    CONSTRAINT stripe_backfills_texts_bounded CHECK (
        octet_length(actor) <= 800 AND octet_length(reason) <= 8192 AND octet_length(error) <= 20000
    ),
    CONSTRAINT stripe_backfills_times_plausible CHECK (
        least(started_at, finished_at) >= '1970-01-01 00:00:00+00'
        AND greatest(started_at, finished_at) < '2200-01-01 00:00:00+00'
    )
);

CREATE INDEX stripe_backfills_started_at ON stripe_backfills (started_at);
