-- The latest evaluation of the alerts, one row: who watches is watched by it. A process that evaluates because nobody
-- has claims it for a while.
CREATE TABLE alert_evaluations (
    is_only_row boolean CONSTRAINT alert_evaluations_pkey PRIMARY KEY DEFAULT true,
    evaluated_at timestamptz NOT NULL DEFAULT now(),
    evaluated_by text NOT NULL DEFAULT '',
    claimed_until timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT alert_evaluations_one_row CHECK (is_only_row),
    CONSTRAINT alert_evaluations_times_plausible CHECK (
        least(evaluated_at, claimed_until) >= '1970-01-01 00:00:00+00'
        AND greatest(evaluated_at, claimed_until) < '2200-01-01 00:00:00+00'
    )
);

INSERT INTO alert_evaluations (is_only_row) VALUES (true);
