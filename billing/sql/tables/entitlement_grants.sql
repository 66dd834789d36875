-- What a customer may use beyond their plan from starts_at until before ends_at: so many requests more in each calendar
-- month (UTC) that it touches, while it is in force, and so many more a minute and key. Without an api_key_id it holds
-- for all of the customer's keys, else for that one alone. It ends by itself; to end it early is to bring ends_at
-- forward. Of an unlimited plan it changes the minute only.
CREATE TABLE entitlement_grants (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    user_id uuid NOT NULL CONSTRAINT entitlement_grants_user_id_fkey REFERENCES users (id) ON DELETE CASCADE,
    api_key_id uuid CONSTRAINT entitlement_grants_api_key_id_fkey REFERENCES api_keys (id) ON DELETE CASCADE,
    extra_requests bigint NOT NULL DEFAULT 0,
    extra_per_minute int NOT NULL DEFAULT 0,
    starts_at timestamptz NOT NULL DEFAULT now(),
    ends_at timestamptz NOT NULL,
    reason text NOT NULL CONSTRAINT entitlement_grants_reason_given CHECK (reason <> ''),
    granted_by text NOT NULL DEFAULT coalesce(nullif(current_setting('app.actor', true), ''), session_user)
    CONSTRAINT entitlement_grants_granted_by_given CHECK (granted_by <> ''),
    -- Granted once under it: the form that was sent, or the change of plan that keeps the rest of an old limit.
    idempotency_key text CONSTRAINT entitlement_grants_idempotency_key_key UNIQUE,
    created_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT entitlement_grants_ends_after_start CHECK (ends_at > starts_at),
    CONSTRAINT entitlement_grants_not_negative CHECK (extra_requests >= 0 AND extra_per_minute >= 0),
    CONSTRAINT entitlement_grants_something_granted CHECK (extra_requests > 0 OR extra_per_minute > 0),
    CONSTRAINT entitlement_grants_possible CHECK (
        extra_requests <= 1000000000000000 AND extra_per_minute <= 1000000000
    ),
    CONSTRAINT entitlement_grants_ids_short CHECK (octet_length(idempotency_key) <= 255),
    CONSTRAINT entitlement_grants_texts_bounded CHECK (
        octet_length(reason) <= 8192 AND octet_length(granted_by) <= 800
    ),
    CONSTRAINT entitlement_grants_times_plausible CHECK (
        least(starts_at, ends_at, created_at) >= '1970-01-01 00:00:00+00'
        AND greatest(starts_at, ends_at, created_at) < '2200-01-01 00:00:00+00'
    )
);

-- What is in force, for every check of a limit: what has ended is not looked at.
CREATE INDEX entitlement_grants_in_force ON entitlement_grants (user_id, ends_at)
INCLUDE (starts_at, api_key_id, extra_requests, extra_per_minute);
CREATE INDEX entitlement_grants_api_key_id ON entitlement_grants (api_key_id) WHERE api_key_id IS NOT NULL;
CREATE INDEX entitlement_grants_created_at ON entitlement_grants (created_at);
