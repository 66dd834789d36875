-- The inbox: every verified event, its payload and where its processing stands. An event that was claimed by id before
-- its payload arrived is a stub of type 'unknown'.
CREATE TABLE stripe_webhook_events (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    stripe_event_id text NOT NULL CONSTRAINT stripe_webhook_events_stripe_event_id_key UNIQUE,
    event_type text NOT NULL DEFAULT 'unknown',
    api_version text,
    livemode boolean NOT NULL DEFAULT false,
    payload jsonb NOT NULL DEFAULT '{}',
    status text NOT NULL DEFAULT 'pending',
    attempts int NOT NULL DEFAULT 0,
    last_error text,
    -- What somebody has to bring before another try makes sense; the first is the cause.
    waits_for text[],
    next_retry_at timestamptz,
    received_at timestamptz NOT NULL DEFAULT now(),
    processing_started_at timestamptz,
    processed_at timestamptz,
    updated_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT stripe_webhook_events_id_given CHECK (stripe_event_id <> ''),
    CONSTRAINT stripe_webhook_events_status_known CHECK (status IN (
        'pending', 'processing', 'processed', 'failed', 'ignored', 'dead'
    )),
    CONSTRAINT stripe_webhook_events_attempts_not_negative CHECK (attempts >= 0),
    CONSTRAINT stripe_webhook_events_waits_for_bounded CHECK (
        cardinality(waits_for) BETWEEN 1 AND 8 AND octet_length(array_to_string(waits_for, '')) <= 767
    ),
    CONSTRAINT stripe_webhook_events_payload_object CHECK (jsonb_typeof(payload) = 'object'),
    CONSTRAINT stripe_webhook_events_texts_bounded CHECK (
        octet_length(stripe_event_id) <= 255 AND octet_length(event_type) <= 255
        AND octet_length(api_version) <= 255 AND octet_length(last_error) <= 20000
    ),
    CONSTRAINT stripe_webhook_events_times_plausible CHECK (
        least(next_retry_at, received_at, processing_started_at, processed_at, updated_at) >= '1970-01-01 00:00:00+00'
        AND greatest(
            next_retry_at, received_at, processing_started_at, processed_at, updated_at
        ) < '2200-01-01 00:00:00+00'
    )
)
WITH (fillfactor = 80);

CREATE INDEX stripe_webhook_events_received_at ON stripe_webhook_events (received_at DESC, id);
CREATE INDEX stripe_webhook_events_waits_for ON stripe_webhook_events USING gin (waits_for)
WHERE waits_for IS NOT NULL;
CREATE INDEX stripe_webhook_events_prefix ON stripe_webhook_events (stripe_event_id text_pattern_ops);
CREATE INDEX stripe_webhook_events_type ON stripe_webhook_events (event_type, received_at DESC);
CREATE INDEX stripe_webhook_events_due ON stripe_webhook_events (next_retry_at, received_at)
WHERE status IN ('pending', 'failed');
CREATE INDEX stripe_webhook_events_unfinished ON stripe_webhook_events (status, received_at)
INCLUDE (stripe_event_id, event_type, attempts) WHERE status IN ('pending', 'processing', 'failed', 'dead');
CREATE INDEX stripe_webhook_events_finished ON stripe_webhook_events ((coalesce(processed_at, received_at)))
WHERE status IN ('processed', 'ignored');
-- "Every event of this customer": payload @> '{"data": {"object": {"customer": "cus_…"}}}'.
CREATE INDEX stripe_webhook_events_payload ON stripe_webhook_events USING gin (payload jsonb_path_ops);

-- The back office's sorts and filters.
CREATE INDEX stripe_webhook_events_status ON stripe_webhook_events (status, received_at DESC);
