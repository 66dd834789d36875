-- The latest evaluation of the alerts, one row: who watches is watched by it. A process that evaluates because nobody
-- has claims it for a while.
CREATE TABLE alert_evaluations (
    is_only_row boolean CONSTRAINT alert_evaluations_pkey PRIMARY KEY DEFAULT true,
    evaluated_at timestamptz NOT NULL DEFAULT now(),
    evaluated_by text NOT NULL DEFAULT '',
    claimed_until timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT alert_evaluations_one_row CHECK (is_only_row)
);

INSERT INTO alert_evaluations (is_only_row) VALUES (true);
