-- Comparisons with Stripe. phase and position say where to resume; events_until is where the next run's listing starts;
-- to_compare is about how many objects there are.
CREATE TABLE reconciliation_runs (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    status text NOT NULL DEFAULT 'running',
    phase text NOT NULL DEFAULT 'events',
    position text,
    ingest boolean NOT NULL DEFAULT false,
    repair boolean NOT NULL DEFAULT false,
    events_from timestamptz NOT NULL,
    events_until timestamptz NOT NULL,
    request_budget int NOT NULL CONSTRAINT reconciliation_runs_budget_positive CHECK (request_budget > 0),
    requests int NOT NULL DEFAULT 0,
    to_compare bigint NOT NULL DEFAULT 0,
    compared int NOT NULL DEFAULT 0,
    missing_events int NOT NULL DEFAULT 0,
    differences_found int NOT NULL DEFAULT 0,
    repaired int NOT NULL DEFAULT 0,
    error text,
    actor text NOT NULL,
    reason text NOT NULL,
    started_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    finished_at timestamptz,
    CONSTRAINT reconciliation_runs_status_known CHECK (status IN ('running', 'paused', 'finished', 'failed')),
    CONSTRAINT reconciliation_runs_phase_known CHECK (
        phase IN ('events', 'customers', 'subscriptions', 'charges', 'invoices', 'unseen')
    ),
    CONSTRAINT reconciliation_runs_texts_bounded CHECK (octet_length(actor) <= 800 AND octet_length(reason) <= 8192),
    CONSTRAINT reconciliation_runs_times_plausible CHECK (
        least(events_from, events_until, started_at, updated_at, finished_at) >= '1970-01-01 00:00:00+00'
        AND greatest(events_from, events_until, started_at, updated_at, finished_at) < '2200-01-01 00:00:00+00'
    )
);

CREATE INDEX reconciliation_runs_started_at ON reconciliation_runs (started_at);
