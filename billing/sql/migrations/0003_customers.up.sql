-- Frozen by `manage.py database freeze`: a later migration changes what this one made.

SET LOCAL check_function_bodies = off;

DROP TRIGGER set_updated_at ON payment_history;

DROP TRIGGER audit ON plan_prices;
DROP TRIGGER set_updated_at ON plan_prices;

DROP TRIGGER audit ON subscriptions;
DROP TRIGGER set_updated_at ON subscriptions;
DROP TRIGGER guard_counters ON subscriptions;
DROP TRIGGER complete_subscription ON subscriptions;

DROP TRIGGER audit ON users;
DROP TRIGGER default_subscription ON users;
DROP TRIGGER set_updated_at ON users;

--! tables/stripe_webhook_events
ALTER TABLE stripe_webhook_events ADD COLUMN waits_for text[];
ALTER TABLE stripe_webhook_events ADD CONSTRAINT stripe_webhook_events_waits_for_bounded CHECK ( cardinality(waits_for) BETWEEN 1 AND 8 AND octet_length(array_to_string(waits_for, '')) <= 767 ) NOT VALID;
CREATE INDEX stripe_webhook_events_waits_for ON stripe_webhook_events USING gin (waits_for) WHERE waits_for IS NOT NULL;
CREATE INDEX stripe_webhook_events_prefix ON stripe_webhook_events (stripe_event_id text_pattern_ops);
/* The table is now:
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
*/

--! tables/users
ALTER TABLE users DROP CONSTRAINT users_times_plausible;
ALTER TABLE users ADD COLUMN suspended_at timestamptz;
ALTER TABLE users ADD CONSTRAINT users_times_plausible CHECK ( least(suspended_at, created_at, updated_at) >= '1970-01-01 00:00:00+00' AND greatest(suspended_at, created_at, updated_at) < '2200-01-01 00:00:00+00' ) NOT VALID;
/* The table is now:
-- A customer. The address is unique whatever its case; it is NULL where Stripe has none or the customer was deleted,
-- whose row stays because payments refer to it. stripe_customer_id is the primary one of stripe_customers, and
-- suspended_at outlasts a deletion.
CREATE TABLE users (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    cognito_user_id text CONSTRAINT users_cognito_user_id_key UNIQUE,
    stripe_customer_id text CONSTRAINT users_stripe_customer_id_key UNIQUE,
    email text,
    name text NOT NULL DEFAULT '',
    status text NOT NULL DEFAULT 'active',
    suspended_at timestamptz,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT users_status_known CHECK (status IN ('active', 'suspended', 'deleted')),
    CONSTRAINT users_email_plausible CHECK (email ~ '^[^@\s]+@[^@\s]+$'),
    -- An empty string is not "no id": two of them would collide on the unique key.
    CONSTRAINT users_ids_given CHECK (cognito_user_id <> '' AND stripe_customer_id <> ''),
    CONSTRAINT users_ids_short CHECK (
        octet_length(cognito_user_id) <= 255 AND octet_length(stripe_customer_id) <= 255
    ),
    CONSTRAINT users_email_short CHECK (octet_length(email) <= 512),
    CONSTRAINT users_name_length CHECK (octet_length(name) <= 8192),
    CONSTRAINT users_times_plausible CHECK (
        least(suspended_at, created_at, updated_at) >= '1970-01-01 00:00:00+00'
        AND greatest(suspended_at, created_at, updated_at) < '2200-01-01 00:00:00+00'
    )
);

CREATE UNIQUE INDEX users_email_key ON users (lower(email));

-- Prefix search as Django writes it: UPPER(column) LIKE UPPER('abc%'). A name may be longer than an index row can be.
CREATE INDEX users_email_prefix ON users (upper(email) text_pattern_ops);
CREATE INDEX users_name_prefix ON users (upper(left(name, 200)) text_pattern_ops);
CREATE INDEX users_created_at ON users (created_at);

-- The back office's sorts and filters.
CREATE INDEX users_status ON users (status, created_at DESC);
*/

--! tables/payment_history
DROP INDEX payment_history_stripe_invoice_id;
DROP INDEX payment_history_stripe_payment_intent_id;
ALTER TABLE payment_history DROP CONSTRAINT payment_history_ids_short;
ALTER TABLE payment_history ADD COLUMN stripe_customer_id text;
ALTER TABLE payment_history ADD CONSTRAINT payment_history_ids_short CHECK ( octet_length(stripe_invoice_id) <= 255 AND octet_length(stripe_payment_intent_id) <= 255 AND octet_length(stripe_charge_id) <= 255 AND octet_length(stripe_customer_id) <= 255 ) NOT VALID;
CREATE INDEX payment_history_stripe_customer_id ON payment_history ( stripe_customer_id ) WHERE stripe_customer_id IS NOT NULL;
CREATE INDEX payment_history_stripe_invoice_id ON payment_history (stripe_invoice_id text_pattern_ops) WHERE stripe_invoice_id IS NOT NULL;
CREATE INDEX payment_history_stripe_payment_intent_id ON payment_history (stripe_payment_intent_id text_pattern_ops) WHERE stripe_payment_intent_id IS NOT NULL;
CREATE INDEX payment_history_stripe_charge_prefix ON payment_history (stripe_charge_id text_pattern_ops) WHERE stripe_charge_id IS NOT NULL;
/* The table is now:
-- One row a charge, failed ones included. Financial records: a user with payments cannot be deleted.
CREATE TABLE payment_history (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    user_id uuid NOT NULL CONSTRAINT payment_history_user_id_fkey REFERENCES users (id) ON DELETE RESTRICT,
    stripe_customer_id text,
    stripe_invoice_id text,
    stripe_payment_intent_id text,
    stripe_charge_id text CONSTRAINT payment_history_stripe_charge_id_key UNIQUE,
    amount_cents bigint NOT NULL,
    currency text NOT NULL DEFAULT 'usd',
    status text NOT NULL DEFAULT 'pending',
    refunded_cents bigint NOT NULL DEFAULT 0,
    failure_message text,
    invoice_url text,
    receipt_url text,
    paid_at timestamptz,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT payment_history_status_known CHECK (status IN (
        'pending', 'succeeded', 'failed', 'refunded', 'partially_refunded', 'disputed'
    )),
    CONSTRAINT payment_history_amount_not_negative CHECK (amount_cents >= 0),
    CONSTRAINT payment_history_refund_within_amount CHECK (refunded_cents BETWEEN 0 AND amount_cents),
    CONSTRAINT payment_history_currency_iso CHECK (currency ~ '^[a-z]{3}$'),
    -- An empty string is not "no id": Stripe cannot be asked for it.
    CONSTRAINT payment_history_ids_given CHECK (
        stripe_invoice_id <> '' AND stripe_payment_intent_id <> '' AND stripe_charge_id <> ''
    ),
    CONSTRAINT payment_history_ids_short CHECK (
        octet_length(stripe_invoice_id) <= 255 AND octet_length(stripe_payment_intent_id) <= 255
        AND octet_length(stripe_charge_id) <= 255 AND octet_length(stripe_customer_id) <= 255
    ),
    CONSTRAINT payment_history_texts_bounded CHECK (
        octet_length(failure_message) <= 8192 AND octet_length(invoice_url) <= 8192
        AND octet_length(receipt_url) <= 8192
    ),
    -- Stripe's largest amount: https://docs.stripe.com/currencies#minimum-and-maximum-charge-amounts
    CONSTRAINT payment_history_amount_possible CHECK (amount_cents <= 999999999999),
    CONSTRAINT payment_history_times_plausible CHECK (
        least(paid_at, created_at, updated_at) >= '1970-01-01 00:00:00+00'
        AND greatest(paid_at, created_at, updated_at) < '2200-01-01 00:00:00+00'
    )
);

CREATE INDEX payment_history_user_id ON payment_history (user_id, created_at DESC);
CREATE INDEX payment_history_stripe_customer_id ON payment_history (
    stripe_customer_id
) WHERE stripe_customer_id IS NOT NULL;
-- Whole or by their beginning: column LIKE 'in_abc%'.
CREATE INDEX payment_history_stripe_invoice_id ON payment_history (stripe_invoice_id text_pattern_ops)
WHERE stripe_invoice_id IS NOT NULL;
CREATE INDEX payment_history_stripe_payment_intent_id ON payment_history (stripe_payment_intent_id text_pattern_ops)
WHERE stripe_payment_intent_id IS NOT NULL;
CREATE INDEX payment_history_stripe_charge_prefix ON payment_history (stripe_charge_id text_pattern_ops)
WHERE stripe_charge_id IS NOT NULL;
CREATE INDEX payment_history_paid_at ON payment_history (paid_at)
INCLUDE (amount_cents, refunded_cents, currency, status) WHERE paid_at IS NOT NULL;
CREATE INDEX payment_history_failures ON payment_history (created_at) WHERE status IN ('failed', 'disputed');

-- The back office's sorts and filters.
CREATE INDEX payment_history_created_at ON payment_history (created_at);
CREATE INDEX payment_history_status ON payment_history (status, created_at DESC);
*/

--! tables/reconciliation_differences
ALTER TABLE reconciliation_differences DROP CONSTRAINT reconciliation_differences_kind_known;
ALTER TABLE reconciliation_differences ALTER COLUMN run_id DROP NOT NULL;
ALTER TABLE reconciliation_differences ADD CONSTRAINT reconciliation_differences_kind_known CHECK ( kind IN ('missing_locally', 'missing_at_stripe', 'differs', 'other_owner') ) NOT VALID;
/* The table is now:
-- Field by field, what our tables and Stripe disagree about. A difference that a later complete run no longer finds is
-- 'gone'; one that is found again stays the same open row.
CREATE TABLE reconciliation_differences (
    id bigint GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY,
    run_id uuid
    CONSTRAINT reconciliation_differences_run_id_fkey REFERENCES reconciliation_runs (id) ON DELETE CASCADE,
    kind text NOT NULL,
    object_kind text NOT NULL,
    stripe_id text NOT NULL,
    stripe_customer_id text,
    user_id uuid CONSTRAINT reconciliation_differences_user_id_fkey REFERENCES users (id) ON DELETE SET NULL,
    field text NOT NULL DEFAULT '',
    local_value text,
    stripe_value text,
    status text NOT NULL DEFAULT 'open',
    note text,
    found_at timestamptz NOT NULL DEFAULT now(),
    closed_at timestamptz,
    CONSTRAINT reconciliation_differences_kind_known CHECK (
        kind IN ('missing_locally', 'missing_at_stripe', 'differs', 'other_owner')
    ),
    CONSTRAINT reconciliation_differences_status_known CHECK (status IN ('open', 'repaired', 'gone')),
    CONSTRAINT reconciliation_differences_texts_bounded CHECK (
        octet_length(object_kind) <= 255 AND octet_length(stripe_id) <= 255
        AND octet_length(stripe_customer_id) <= 255 AND octet_length(field) <= 255
    ),
    CONSTRAINT reconciliation_differences_times_plausible CHECK (
        least(found_at, closed_at) >= '1970-01-01 00:00:00+00'
        AND greatest(found_at, closed_at) < '2200-01-01 00:00:00+00'
    )
);

CREATE UNIQUE INDEX reconciliation_differences_one_open ON reconciliation_differences (object_kind, stripe_id, field)
WHERE status = 'open';
CREATE INDEX reconciliation_differences_run_id ON reconciliation_differences (run_id);
CREATE INDEX reconciliation_differences_user_id ON reconciliation_differences (user_id) WHERE user_id IS NOT NULL;
CREATE INDEX reconciliation_differences_status ON reconciliation_differences (status, id);
CREATE INDEX reconciliation_differences_kind ON reconciliation_differences (kind, id);
*/

--! tables/stripe_customers
-- The customers at Stripe and whose they are. A user may have several; the primary one is users.stripe_customer_id, and
-- the triggers keep the two equal whichever of them is written.
--
-- ownership: 'known', somebody or something said whose it is; 'presumed', nobody did and its user was made for it;
-- 'unclaimed', it was unlinked and its user holds its rows until it is linked again.
CREATE TABLE stripe_customers (
    stripe_customer_id text PRIMARY KEY CONSTRAINT stripe_customers_id_given CHECK (stripe_customer_id <> ''),
    user_id uuid NOT NULL CONSTRAINT stripe_customers_user_id_fkey REFERENCES users (id) ON DELETE CASCADE,
    is_primary boolean NOT NULL DEFAULT false,
    ownership text NOT NULL DEFAULT 'known',
    linked_by text NOT NULL DEFAULT coalesce(nullif(left(current_setting('app.actor', true), 200), ''), session_user),
    linked_at timestamptz NOT NULL DEFAULT now(),
    -- When somebody chose it as the primary one; without a choice it is the oldest that lives.
    chosen_at timestamptz,
    created_at timestamptz,
    deleted_at timestamptz,
    CONSTRAINT stripe_customers_ownership_known CHECK (ownership IN ('known', 'presumed', 'unclaimed')),
    CONSTRAINT stripe_customers_id_plain CHECK (stripe_customer_id ~ '^[A-Za-z0-9_-]+$'),
    CONSTRAINT stripe_customers_texts_bounded CHECK (
        octet_length(stripe_customer_id) <= 255 AND octet_length(linked_by) <= 800
    ),
    CONSTRAINT stripe_customers_times_plausible CHECK (
        least(linked_at, chosen_at, created_at, deleted_at) >= '1970-01-01 00:00:00+00'
        AND greatest(linked_at, chosen_at, created_at, deleted_at) < '2200-01-01 00:00:00+00'
    )
);

CREATE UNIQUE INDEX stripe_customers_one_primary ON stripe_customers (user_id) WHERE is_primary;
CREATE INDEX stripe_customers_user_id ON stripe_customers (user_id, linked_at);
-- Finding one by the beginning of its id, as Django writes it: column LIKE 'cus_abc%'.
CREATE INDEX stripe_customers_prefix ON stripe_customers (stripe_customer_id text_pattern_ops);

--! tables/subscriptions
ALTER TABLE subscriptions DROP CONSTRAINT subscriptions_ids_short;
ALTER TABLE subscriptions ADD COLUMN stripe_customer_id text;
ALTER TABLE subscriptions ADD CONSTRAINT subscriptions_ids_short CHECK ( octet_length(tier) <= 63 AND octet_length(stripe_subscription_id) <= 255 AND octet_length(stripe_customer_id) <= 255 AND octet_length(stripe_price_id) <= 255 ) NOT VALID;
CREATE INDEX subscriptions_stripe_customer_id ON subscriptions (stripe_customer_id) WHERE stripe_customer_id IS NOT NULL;
CREATE INDEX subscriptions_stripe_price_id ON subscriptions (stripe_price_id text_pattern_ops) WHERE stripe_price_id IS NOT NULL;
CREATE INDEX subscriptions_stripe_subscription_prefix ON subscriptions (stripe_subscription_id text_pattern_ops) WHERE stripe_subscription_id IS NOT NULL;
/* The table is now:
-- What a customer may use and pays, past and present. One live row per user; the free plan is a row too.
-- price_cents is the monthly price after recurring discounts; a NULL monthly_request_limit is unlimited.
CREATE TABLE subscriptions (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    user_id uuid NOT NULL CONSTRAINT subscriptions_user_id_fkey REFERENCES users (id) ON DELETE CASCADE,
    tier text NOT NULL DEFAULT 'free' CONSTRAINT subscriptions_tier_fkey REFERENCES plans (tier) ON DELETE RESTRICT,
    status text NOT NULL DEFAULT 'active',
    stripe_subscription_id text CONSTRAINT subscriptions_stripe_subscription_id_key UNIQUE,
    stripe_customer_id text,
    stripe_price_id text,
    quantity bigint NOT NULL DEFAULT 1,
    price_cents bigint NOT NULL DEFAULT 0,
    currency text NOT NULL DEFAULT 'usd',
    "interval" text NOT NULL DEFAULT 'month',
    current_period_start timestamptz,
    current_period_end timestamptz,
    cancel_at_period_end boolean NOT NULL DEFAULT false,
    canceled_at timestamptz,
    trial_end timestamptz,
    is_duplicate boolean NOT NULL DEFAULT false,
    monthly_request_limit bigint,
    usage_count bigint NOT NULL DEFAULT 0,
    usage_synced_at timestamptz,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT subscriptions_status_known CHECK (status IN (
        'incomplete', 'incomplete_expired', 'trialing', 'active', 'past_due', 'unpaid', 'paused', 'canceled'
    )),
    CONSTRAINT subscriptions_stripe_subscription_id_given CHECK (stripe_subscription_id <> ''),
    CONSTRAINT subscriptions_quantity_not_negative CHECK (quantity >= 0),
    CONSTRAINT subscriptions_price_not_negative CHECK (price_cents >= 0),
    CONSTRAINT subscriptions_currency_iso CHECK (currency ~ '^[a-z]{3}$'),
    CONSTRAINT subscriptions_interval_known CHECK ("interval" IN ('day', 'week', 'month', 'year')),
    CONSTRAINT subscriptions_period_ordered CHECK (current_period_start <= current_period_end),
    CONSTRAINT subscriptions_limit_not_negative CHECK (monthly_request_limit >= 0),
    CONSTRAINT subscriptions_usage_not_negative CHECK (usage_count >= 0),
    CONSTRAINT subscriptions_usage_possible CHECK (usage_count <= 1000000000000000),
    CONSTRAINT subscriptions_canceled_is_dated CHECK (status <> 'canceled' OR canceled_at IS NOT NULL),
    CONSTRAINT subscriptions_ids_short CHECK (
        octet_length(tier) <= 63 AND octet_length(stripe_subscription_id) <= 255
        AND octet_length(stripe_customer_id) <= 255 AND octet_length(stripe_price_id) <= 255
    ),
    -- Stripe's largest amount: https://docs.stripe.com/currencies#minimum-and-maximum-charge-amounts
    CONSTRAINT subscriptions_price_possible CHECK (price_cents <= 999999999999999),
    CONSTRAINT subscriptions_times_plausible CHECK (
        least(
            current_period_start, current_period_end, canceled_at, trial_end, usage_synced_at,
            created_at, updated_at
        ) >= '1970-01-01 00:00:00+00'
        AND greatest(
            current_period_start, current_period_end, canceled_at, trial_end, usage_synced_at,
            created_at, updated_at
        ) < '2200-01-01 00:00:00+00'
    )
);

-- Stripe allows a customer two subscriptions at once; the lower one is kept as a marked duplicate. The statuses are
-- those of live_subscriptions, word for word, so that the index serves it too.
CREATE UNIQUE INDEX subscriptions_one_live_per_user ON subscriptions (user_id)
WHERE status IN ('trialing', 'active', 'past_due', 'unpaid', 'paused') AND NOT is_duplicate;

CREATE INDEX subscriptions_user_id ON subscriptions (user_id, created_at);
CREATE INDEX subscriptions_stripe_customer_id ON subscriptions (stripe_customer_id)
WHERE stripe_customer_id IS NOT NULL;
CREATE INDEX subscriptions_stripe_price_id ON subscriptions (stripe_price_id text_pattern_ops)
WHERE stripe_price_id IS NOT NULL;
CREATE INDEX subscriptions_stripe_subscription_prefix ON subscriptions (stripe_subscription_id text_pattern_ops)
WHERE stripe_subscription_id IS NOT NULL;
CREATE INDEX subscriptions_tier_status ON subscriptions (tier, status) INCLUDE (price_cents, currency);
CREATE INDEX subscriptions_due ON subscriptions (current_period_end) WHERE status IN ('trialing', 'active');
CREATE INDEX subscriptions_duplicates ON subscriptions (user_id) WHERE is_duplicate;

-- The back office's sorts and filters.
CREATE INDEX subscriptions_created_at ON subscriptions (created_at);
CREATE INDEX subscriptions_status ON subscriptions (status, created_at DESC);
CREATE INDEX subscriptions_tier ON subscriptions (tier, created_at DESC);
*/

--! functions/complete_webhook_processing
-- Ends the processing of an event: NULL error, processed; else failed, to be tried again after 1, 5 and 30 minutes,
-- then 2, 5 and 10 hours (plus up to a quarter as jitter), and dead after 8 attempts. One that waits for somebody
-- (waits_for) is tried again after a day and never dies of it: all its attempts count as one. False when the event was
-- not being processed.
CREATE OR REPLACE FUNCTION complete_webhook_processing(event_id text, error text) RETURNS boolean
LANGUAGE plpgsql
SET search_path = public, pg_temp
AS $$
DECLARE
    max_attempts CONSTANT int := webhook_attempts();
    pauses CONSTANT interval [] := ARRAY['1 min', '5 min', '30 min', '2 h', '5 h', '10 h']::interval [];
BEGIN
    IF event_id IS NULL OR event_id = '' THEN
        RAISE EXCEPTION 'complete_webhook_processing: event_id is empty' USING ERRCODE = 'invalid_parameter_value';
    END IF;

    UPDATE stripe_webhook_events AS e
    SET
        status = CASE
            WHEN error IS NULL THEN 'processed'
            WHEN e.waits_for IS NULL AND e.attempts >= max_attempts THEN 'dead'
            ELSE 'failed'
        END,
        attempts = CASE WHEN error IS NOT NULL AND e.waits_for IS NOT NULL THEN 1 ELSE e.attempts END,
        waits_for = CASE WHEN error IS NOT NULL THEN e.waits_for END,
        last_error = left(error, 5000),
        processed_at = CASE WHEN error IS NULL THEN clock_timestamp() END,
        next_retry_at = CASE
            WHEN error IS NOT NULL AND e.waits_for IS NOT NULL THEN clock_timestamp() + interval '1 day'
            WHEN error IS NOT NULL AND e.attempts < max_attempts THEN
                clock_timestamp()
                + pauses[least(greatest(e.attempts, 1), cardinality(pauses))] * (1::float8 + random() / 4::float8)
        END
    WHERE e.stripe_event_id = event_id AND e.status = 'processing';
    RETURN FOUND;
END
$$;

--! functions/follow_primary_customer
-- When a user's primary customer has left, the oldest that lives follows it; none is left of the only one.
CREATE FUNCTION follow_primary_customer() RETURNS trigger
LANGUAGE plpgsql
SET search_path = public, pg_temp
AS $$
BEGIN
    UPDATE users AS u
    SET
        stripe_customer_id = (
            SELECT c.stripe_customer_id
            FROM stripe_customers AS c
            WHERE c.user_id = OLD.user_id
            ORDER BY c.deleted_at IS NOT NULL, coalesce(c.created_at, c.linked_at), c.stripe_customer_id
            LIMIT 1
        )
    WHERE u.id = OLD.user_id AND (u.stripe_customer_id IS NULL OR u.stripe_customer_id = OLD.stripe_customer_id);
    RETURN NULL;
END
$$;

--! functions/keep_primary_customer
-- Keeps users.stripe_customer_id in line with stripe_customers: a user's first customer becomes the primary one, and
-- one that is made so takes the place of the other.
CREATE FUNCTION keep_primary_customer() RETURNS trigger
LANGUAGE plpgsql
SET search_path = public, pg_temp
AS $$
DECLARE
    is_moved CONSTANT boolean := TG_OP = 'UPDATE' AND NEW.user_id <> OLD.user_id;
    named text;
BEGIN
    IF TG_OP = 'UPDATE' AND NEW.stripe_customer_id <> OLD.stripe_customer_id THEN
        RAISE EXCEPTION 'stripe_customers: % cannot become %', OLD.stripe_customer_id, NEW.stripe_customer_id
            USING ERRCODE = 'check_violation';
    END IF;
    IF is_moved THEN
        -- Whom it leaves finds another one when it has gone: follow_primary_customer().
        PERFORM set_config('app.linking', NEW.stripe_customer_id, true);
        UPDATE users AS u SET stripe_customer_id = NULL
        WHERE u.id = OLD.user_id AND u.stripe_customer_id = NEW.stripe_customer_id;
        PERFORM set_config('app.linking', '', true);
        NEW.chosen_at := NULL;
    END IF;

    SELECT u.stripe_customer_id INTO named FROM users AS u WHERE u.id = NEW.user_id FOR NO KEY UPDATE;
    NEW.is_primary := named IS NULL OR (NEW.is_primary AND NOT is_moved);
    IF NEW.is_primary AND named IS DISTINCT FROM NEW.stripe_customer_id THEN
        PERFORM set_config('app.linking', NEW.stripe_customer_id, true);
        UPDATE users AS u SET stripe_customer_id = NEW.stripe_customer_id WHERE u.id = NEW.user_id;
        PERFORM set_config('app.linking', '', true);
    ELSIF NOT NEW.is_primary AND named = NEW.stripe_customer_id THEN
        RAISE EXCEPTION 'stripe_customers: % is the primary one of user %', NEW.stripe_customer_id, NEW.user_id
            USING ERRCODE = 'check_violation', HINT = 'Make another of the user''s customers the primary one instead.';
    END IF;
    RETURN NEW;
END
$$;

--! functions/keep_suspension
-- Remembers a suspension beside the status, which a deletion takes over: who comes back is suspended still. Only making
-- a suspended user active ends it.
CREATE FUNCTION keep_suspension() RETURNS trigger
LANGUAGE plpgsql
SET search_path = public, pg_temp
AS $$
BEGIN
    IF NEW.status = 'suspended' THEN
        NEW.suspended_at := coalesce(NEW.suspended_at, now());
    ELSIF NEW.status = 'active' AND (TG_OP = 'INSERT' OR OLD.status = 'suspended') THEN
        NEW.suspended_at := NULL;
    END IF;
    RETURN NEW;
END
$$;

--! functions/link_primary_customer
-- Keeps stripe_customers in line with users.stripe_customer_id: the one named there is the primary one, also when it
-- was set by SQL; the one before stays with the user. What keep_primary_customer() is about to write is left to it.
CREATE FUNCTION link_primary_customer() RETURNS trigger
LANGUAGE plpgsql
SET search_path = public, pg_temp
AS $$
DECLARE
    under_way CONSTANT text := coalesce(current_setting('app.linking', true), '');
    owner uuid;
BEGIN
    IF NEW.stripe_customer_id IS NULL THEN
        IF under_way <> '' THEN
            RETURN NULL;
        END IF;
        IF (SELECT count(*) FROM stripe_customers AS c WHERE c.user_id = NEW.id) > 1 THEN
            RAISE EXCEPTION 'users: % has other Stripe customers, one of which has to be the primary one', NEW.id
                USING ERRCODE = 'check_violation', HINT = 'Set stripe_customer_id to one of them.';
        END IF;
        DELETE FROM stripe_customers AS c WHERE c.user_id = NEW.id;
        RETURN NULL;
    END IF;

    UPDATE stripe_customers AS c
    SET is_primary = false, chosen_at = NULL
    WHERE c.user_id = NEW.id AND c.is_primary AND c.stripe_customer_id NOT IN (NEW.stripe_customer_id, under_way);
    IF NEW.stripe_customer_id = under_way THEN
        RETURN NULL;
    END IF;
    INSERT INTO stripe_customers AS c (stripe_customer_id, user_id, is_primary)
    VALUES (NEW.stripe_customer_id, NEW.id, true)
    ON CONFLICT (stripe_customer_id) DO UPDATE SET is_primary = true WHERE c.user_id = NEW.id;
    IF NOT FOUND THEN
        SELECT c.user_id INTO owner FROM stripe_customers AS c WHERE c.stripe_customer_id = NEW.stripe_customer_id;
        RAISE EXCEPTION 'users: Stripe customer % belongs to user %', NEW.stripe_customer_id, owner
            USING ERRCODE = 'unique_violation', HINT = 'Move it by stripe_customers.user_id.';
    END IF;
    RETURN NULL;
END
$$;

--! functions/name_stripe_customer
-- Of a row of Stripe's whose writer did not say of which customer it is, it is the user's primary one.
CREATE FUNCTION name_stripe_customer() RETURNS trigger
LANGUAGE plpgsql
SET search_path = public, pg_temp
AS $$
BEGIN
    NEW.stripe_customer_id := (SELECT u.stripe_customer_id FROM users AS u WHERE u.id = NEW.user_id);
    RETURN NEW;
END
$$;

--! functions/release_waiting_events
-- Lets events try again that wait for what a row brings: the column that the argument names.
CREATE FUNCTION release_waiting_events() RETURNS trigger
LANGUAGE plpgsql
SET search_path = public, pg_temp
AS $$
BEGIN
    PERFORM retry_waiting_events(to_jsonb(NEW) ->> TG_ARGV[0]);
    RETURN NULL;
END
$$;

--! functions/retry_waiting_events
-- Makes failed events due that wait for `key`, a Stripe customer, a price or an e-mail address in lower case: it has
-- come. Returns how many; the job `webhooks` enqueues them within a minute.
CREATE FUNCTION retry_waiting_events(key text) RETURNS bigint
LANGUAGE plpgsql
SET search_path = public, pg_temp
AS $$
DECLARE
    released bigint;
BEGIN
    IF key IS NULL OR key = '' THEN
        RAISE EXCEPTION 'retry_waiting_events: key is empty' USING ERRCODE = 'invalid_parameter_value';
    END IF;

    UPDATE stripe_webhook_events AS e
    SET next_retry_at = now()
    WHERE e.status = 'failed' AND e.waits_for @> ARRAY[key];
    GET DIAGNOSTICS released = ROW_COUNT;
    RETURN released;
END
$$;

--! functions/start_webhook_processing
-- Claims an event for 15 minutes and counts the attempt. True to exactly one caller: for a pending event, one never
-- seen (a stub row is stored), a failed one that is due, or one whose lease ran out. An event whose eighth lease ran
-- out took its worker down every time: it is dead.
CREATE OR REPLACE FUNCTION start_webhook_processing(event_id text) RETURNS boolean
LANGUAGE plpgsql
SET search_path = public, pg_temp
SET intervalstyle = 'postgres'
AS $$
DECLARE
    lease CONSTANT interval := webhook_lease();
    max_attempts CONSTANT int := webhook_attempts();
    claimed text;
BEGIN
    IF event_id IS NULL OR event_id = '' THEN
        RAISE EXCEPTION 'start_webhook_processing: event_id is empty' USING ERRCODE = 'invalid_parameter_value';
    END IF;

    IF octet_length(event_id) > 255 THEN
        RAISE EXCEPTION 'start_webhook_processing: event_id has % octets, at most 255 are possible', octet_length(event_id)
            USING ERRCODE = 'invalid_parameter_value';
    END IF;

    INSERT INTO stripe_webhook_events AS e (stripe_event_id, status, attempts, processing_started_at)
    VALUES (event_id, 'processing', 1, clock_timestamp())
    ON CONFLICT (stripe_event_id) DO UPDATE
    SET
        status = CASE WHEN e.status = 'processing' AND e.attempts >= max_attempts THEN 'dead' ELSE 'processing' END,
        attempts = least(e.attempts, 2147483646) + CASE WHEN e.status = 'processing' AND e.attempts >= max_attempts THEN 0 ELSE 1 END,
        last_error = CASE
            WHEN e.status = 'processing' THEN format('The worker of attempt %s did not finish within %s.', e.attempts, lease)
            ELSE e.last_error
        END,
        waits_for = NULL,
        next_retry_at = NULL,
        processing_started_at = clock_timestamp()
    WHERE e.status = 'pending'
        OR (e.status = 'failed' AND coalesce(e.next_retry_at, '-infinity') <= clock_timestamp())
        OR (e.status = 'processing' AND coalesce(e.processing_started_at, '-infinity') <= clock_timestamp() - lease)
    RETURNING e.status INTO claimed;

    RETURN coalesce(claimed = 'processing', false);
END
$$;

--! indexes/djstripe_charge
-- Finding a charge by the number on its receipt, and by the last four digits of what paid it.
CREATE INDEX djstripe_charge_receipt_number ON djstripe_charge ((stripe_data ->> 'receipt_number'))
WHERE (stripe_data ->> 'receipt_number') IS NOT NULL;
CREATE INDEX djstripe_charge_last4 ON djstripe_charge ((
    stripe_data -> 'payment_method_details' -> (stripe_data #>> '{payment_method_details,type}') ->> 'last4'
));

--! indexes/djstripe_invoice
-- Finding an invoice by its printed number, whole or its beginning, as Django writes it: UPPER(…) LIKE 'A1B2C3D4%'.
CREATE INDEX djstripe_invoice_number ON djstripe_invoice (upper(stripe_data ->> 'number') text_pattern_ops);

--! indexes/djstripe_paymentmethod
-- Finding a payment method by its last four digits, whether it is a card or an account at a bank.
CREATE INDEX djstripe_paymentmethod_last4 ON djstripe_paymentmethod ((
    stripe_data -> (stripe_data ->> 'type') ->> 'last4'
));

--! triggers/payment_history
CREATE TRIGGER name_customer BEFORE INSERT ON payment_history
FOR EACH ROW WHEN (new.stripe_customer_id IS NULL AND new.stripe_charge_id IS NOT NULL)
EXECUTE FUNCTION name_stripe_customer();

CREATE TRIGGER set_updated_at BEFORE UPDATE ON payment_history
FOR EACH ROW WHEN (old.* IS DISTINCT FROM new.*) EXECUTE FUNCTION set_updated_at();

--! triggers/plan_prices
CREATE TRIGGER release_waiting AFTER INSERT OR UPDATE ON plan_prices
FOR EACH ROW EXECUTE FUNCTION release_waiting_events('stripe_price_id');

CREATE TRIGGER set_updated_at BEFORE UPDATE ON plan_prices
FOR EACH ROW WHEN (old.* IS DISTINCT FROM new.*) EXECUTE FUNCTION set_updated_at();

CREATE TRIGGER audit AFTER INSERT OR UPDATE OR DELETE ON plan_prices
FOR EACH ROW EXECUTE FUNCTION audit_row_change('stripe_price_id');

--! triggers/stripe_customers
CREATE TRIGGER keep_primary BEFORE INSERT OR UPDATE ON stripe_customers
FOR EACH ROW EXECUTE FUNCTION keep_primary_customer();

CREATE TRIGGER follow_primary AFTER DELETE OR UPDATE OF user_id ON stripe_customers
FOR EACH ROW EXECUTE FUNCTION follow_primary_customer();

CREATE TRIGGER release_waiting AFTER INSERT OR UPDATE OF user_id ON stripe_customers
FOR EACH ROW EXECUTE FUNCTION release_waiting_events('stripe_customer_id');

CREATE TRIGGER audit AFTER INSERT OR UPDATE OR DELETE ON stripe_customers
FOR EACH ROW EXECUTE FUNCTION audit_row_change('stripe_customer_id');

--! triggers/subscriptions
-- Triggers fire in the order of their names: the guard and the completion come before set_updated_at compares the row.
CREATE TRIGGER complete_subscription BEFORE INSERT OR UPDATE OF tier, status, monthly_request_limit ON subscriptions
FOR EACH ROW EXECUTE FUNCTION complete_subscription();

CREATE TRIGGER guard_counters BEFORE UPDATE OF usage_count, usage_synced_at ON subscriptions
FOR EACH ROW WHEN (current_setting('app.counting', true) IS DISTINCT FROM 'on')
EXECUTE FUNCTION guard_subscription_counters();

CREATE TRIGGER name_customer BEFORE INSERT ON subscriptions
FOR EACH ROW WHEN (new.stripe_customer_id IS NULL AND new.stripe_subscription_id IS NOT NULL)
EXECUTE FUNCTION name_stripe_customer();

-- Counting is no change of the subscription: updated_at stays what support looks for.
CREATE TRIGGER set_updated_at BEFORE UPDATE ON subscriptions
FOR EACH ROW
WHEN (
    old.* IS DISTINCT FROM new.*
    AND old.usage_count = new.usage_count
    AND old.usage_synced_at IS NOT DISTINCT FROM new.usage_synced_at
)
EXECUTE FUNCTION set_updated_at();

-- All columns but the counters, which the sync moves for every user: it must not pay for an audit.
CREATE TRIGGER audit AFTER INSERT OR DELETE OR UPDATE OF
id, user_id, tier, status, stripe_subscription_id, stripe_price_id, quantity, price_cents, currency, "interval",
current_period_start, current_period_end, cancel_at_period_end, canceled_at, trial_end, is_duplicate,
monthly_request_limit, created_at
ON subscriptions
FOR EACH ROW EXECUTE FUNCTION audit_row_change('id', 'usage_count', 'usage_synced_at');

--! triggers/users
CREATE TRIGGER keep_suspension BEFORE INSERT OR UPDATE OF status ON users
FOR EACH ROW EXECUTE FUNCTION keep_suspension();

CREATE TRIGGER link_primary_customer AFTER INSERT ON users
FOR EACH ROW WHEN (new.stripe_customer_id IS NOT NULL) EXECUTE FUNCTION link_primary_customer();

CREATE TRIGGER relink_primary_customer AFTER UPDATE OF stripe_customer_id ON users
FOR EACH ROW WHEN (old.stripe_customer_id IS DISTINCT FROM new.stripe_customer_id)
EXECUTE FUNCTION link_primary_customer();

CREATE TRIGGER set_updated_at BEFORE UPDATE ON users
FOR EACH ROW WHEN (old.* IS DISTINCT FROM new.*) EXECUTE FUNCTION set_updated_at();

CREATE TRIGGER default_subscription AFTER INSERT ON users
REFERENCING NEW TABLE AS new_users
FOR EACH STATEMENT EXECUTE FUNCTION create_free_subscriptions();

CREATE TRIGGER audit AFTER INSERT OR UPDATE OR DELETE ON users
FOR EACH ROW EXECUTE FUNCTION audit_row_change('id', 'suspended_at');
