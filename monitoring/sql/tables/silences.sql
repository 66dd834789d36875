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
    CONSTRAINT silences_ends CHECK (isfinite(starts_at) AND isfinite(ends_at) AND ends_at >= starts_at),
    CONSTRAINT silences_reason_given CHECK (octet_length(reason) BETWEEN 1 AND 4000)
);

CREATE INDEX silences_ends_at ON silences (ends_at);
