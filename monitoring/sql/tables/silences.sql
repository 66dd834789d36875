-- Maintenance windows: alerts of the checks that a pattern names, with * for any text, send no message meanwhile.
CREATE TABLE silences (
    id uuid CONSTRAINT silences_pkey PRIMARY KEY DEFAULT gen_random_uuid(),
    check_pattern text NOT NULL,
    starts_at timestamptz NOT NULL,
    ends_at timestamptz NOT NULL,
    reason text NOT NULL,
    created_by text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT silences_pattern_plain CHECK (check_pattern ~ '^[a-z0-9_*]{1,100}$'),
    CONSTRAINT silences_ends CHECK (ends_at >= starts_at),
    CONSTRAINT silences_times_plausible CHECK (
        least(starts_at, ends_at, created_at) >= '1970-01-01 00:00:00+00'
        AND greatest(starts_at, ends_at, created_at) < '2200-01-01 00:00:00+00'
    ),
    CONSTRAINT silences_reason_given CHECK (octet_length(reason) BETWEEN 1 AND 4000)
);

CREATE INDEX silences_ends_at ON silences (ends_at);
