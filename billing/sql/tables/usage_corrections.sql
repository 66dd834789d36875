-- Requests of a customer's month (UTC) that are to count more or fewer than were recorded, signed: what was counted is
-- never changed. They enter where use is held against a limit or told to a customer, see quota_usage, and no statistics
-- of requests. Append-only: what is wrong is corrected by another one, counted by "number"; they go only with their
-- customer. The key says which one it was about, and changes nothing.
CREATE TABLE usage_corrections (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    user_id uuid NOT NULL CONSTRAINT usage_corrections_user_id_fkey REFERENCES users (id) ON DELETE CASCADE,
    month date NOT NULL,
    number int NOT NULL DEFAULT 0,
    api_key_id uuid,
    requests bigint NOT NULL,
    reason text NOT NULL CONSTRAINT usage_corrections_reason_given CHECK (reason <> ''),
    made_by text NOT NULL DEFAULT coalesce(nullif(current_setting('app.actor', true), ''), session_user)
    CONSTRAINT usage_corrections_made_by_given CHECK (made_by <> ''),
    -- Made once under it: the form that was sent.
    idempotency_key text CONSTRAINT usage_corrections_idempotency_key_key UNIQUE,
    created_at timestamptz NOT NULL DEFAULT now(),
    -- Two at once with the same number of an old snapshot: neither knows of the other, so one fails.
    CONSTRAINT usage_corrections_number_key UNIQUE (user_id, month, number),
    CONSTRAINT usage_corrections_number_positive CHECK (number > 0),
    CONSTRAINT usage_corrections_month_first_day CHECK (extract(DAY FROM month) = 1),
    CONSTRAINT usage_corrections_month_plausible CHECK (month >= '1970-01-01' AND month < '2200-01-01'),
    CONSTRAINT usage_corrections_requests_possible CHECK (
        requests <> 0 AND requests BETWEEN -1000000000000000 AND 1000000000000000
    ),
    CONSTRAINT usage_corrections_ids_short CHECK (octet_length(idempotency_key) <= 255),
    CONSTRAINT usage_corrections_texts_bounded CHECK (octet_length(reason) <= 8192 AND octet_length(made_by) <= 800),
    CONSTRAINT usage_corrections_times_plausible CHECK (
        created_at >= '1970-01-01 00:00:00+00' AND created_at < '2200-01-01 00:00:00+00'
    )
);

CREATE INDEX usage_corrections_month ON usage_corrections (month);
CREATE INDEX usage_corrections_created_at ON usage_corrections (created_at);
