-- What only a program can measure, its settings and what they lead to: written at each evaluation of the alerts by
-- whoever does it.
CREATE TABLE measurements (
    check_name text NOT NULL,
    host text NOT NULL,
    value numeric,
    message text NOT NULL,
    measured_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    CONSTRAINT measurements_pkey PRIMARY KEY (check_name, host)
);
