-- What only a program can measure, its settings and what they lead to: written at each evaluation of the alerts by
-- whoever does it.
CREATE TABLE measurements (
    check_name text NOT NULL,
    host text NOT NULL,
    value numeric,
    message text NOT NULL,
    measured_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    CONSTRAINT measurements_pkey PRIMARY KEY (check_name, host),
    CONSTRAINT measurements_texts_bounded CHECK (octet_length(check_name) <= 255 AND octet_length(host) <= 255),
    CONSTRAINT measurements_times_plausible CHECK (
        measured_at >= '1970-01-01 00:00:00+00' AND measured_at < '2200-01-01 00:00:00+00'
    )
);
