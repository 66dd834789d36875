-- Frozen by `manage.py database freeze`: a later migration changes what this one made.

SET LOCAL check_function_bodies = off;

DROP TRIGGER audit ON subscriptions;
DROP TRIGGER set_updated_at ON subscriptions;
DROP TRIGGER guard_counters ON subscriptions;
DROP TRIGGER complete_subscription ON subscriptions;

--! tables/entitled_statuses
-- The statuses in which a subscription entitles to its plan, as the setting ENTITLED_STATUSES said at the last migrate;
-- in the others a live one has the limits of the free plan.
CREATE TABLE entitled_statuses (
    status text PRIMARY KEY CONSTRAINT entitled_statuses_live CHECK (
        status IN ('active', 'past_due', 'trialing', 'paused', 'unpaid')
    )
);

INSERT INTO entitled_statuses (status)
VALUES
('active'),
('past_due'),
('trialing');

--! tables/subscriptions
ALTER TABLE subscriptions DROP CONSTRAINT subscriptions_ids_short;
ALTER TABLE subscriptions DROP CONSTRAINT subscriptions_times_plausible;
ALTER TABLE subscriptions ADD COLUMN cancel_at timestamptz;
ALTER TABLE subscriptions ADD COLUMN collection_paused text;
ALTER TABLE subscriptions ADD COLUMN collection_resumes_at timestamptz;
ALTER TABLE subscriptions ADD COLUMN stripe_schedule_id text;
ALTER TABLE subscriptions ADD CONSTRAINT subscriptions_collection_paused_known CHECK ( collection_paused IN ('keep_as_draft', 'mark_uncollectible', 'void') ) NOT VALID;
ALTER TABLE subscriptions ADD CONSTRAINT subscriptions_ids_short CHECK ( octet_length(tier) <= 63 AND octet_length(stripe_subscription_id) <= 255 AND octet_length(stripe_price_id) <= 255 AND octet_length(stripe_schedule_id) <= 255 ) NOT VALID;
ALTER TABLE subscriptions ADD CONSTRAINT subscriptions_times_plausible CHECK ( least( current_period_start, current_period_end, cancel_at, canceled_at, trial_end, collection_resumes_at, usage_synced_at, created_at, updated_at ) >= '1970-01-01 00:00:00+00' AND greatest( current_period_start, current_period_end, cancel_at, canceled_at, trial_end, collection_resumes_at, usage_synced_at, created_at, updated_at ) < '2200-01-01 00:00:00+00' ) NOT VALID;
/* The table is now:
-- What a customer may use and pays, past and present. One live row per user; the free plan is a row too.
-- price_cents is the monthly price after recurring discounts; a NULL monthly_request_limit is unlimited. cancel_at is
-- when it ends if nobody changes that; collection_paused says what becomes of its invoices while nothing is collected.
CREATE TABLE subscriptions (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    user_id uuid NOT NULL CONSTRAINT subscriptions_user_id_fkey REFERENCES users (id) ON DELETE CASCADE,
    tier text NOT NULL DEFAULT 'free' CONSTRAINT subscriptions_tier_fkey REFERENCES plans (tier) ON DELETE RESTRICT,
    status text NOT NULL DEFAULT 'active',
    stripe_subscription_id text CONSTRAINT subscriptions_stripe_subscription_id_key UNIQUE,
    stripe_price_id text,
    quantity bigint NOT NULL DEFAULT 1,
    price_cents bigint NOT NULL DEFAULT 0,
    currency text NOT NULL DEFAULT 'usd',
    "interval" text NOT NULL DEFAULT 'month',
    current_period_start timestamptz,
    current_period_end timestamptz,
    cancel_at_period_end boolean NOT NULL DEFAULT false,
    cancel_at timestamptz,
    canceled_at timestamptz,
    trial_end timestamptz,
    collection_paused text,
    collection_resumes_at timestamptz,
    stripe_schedule_id text,
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
    -- https://docs.stripe.com/api/subscriptions/object#subscription_object-pause_collection-behavior
    CONSTRAINT subscriptions_collection_paused_known CHECK (
        collection_paused IN ('keep_as_draft', 'mark_uncollectible', 'void')
    ),
    CONSTRAINT subscriptions_limit_not_negative CHECK (monthly_request_limit >= 0),
    CONSTRAINT subscriptions_usage_not_negative CHECK (usage_count >= 0),
    CONSTRAINT subscriptions_usage_possible CHECK (usage_count <= 1000000000000000),
    CONSTRAINT subscriptions_canceled_is_dated CHECK (status <> 'canceled' OR canceled_at IS NOT NULL),
    CONSTRAINT subscriptions_ids_short CHECK (
        octet_length(tier) <= 63 AND octet_length(stripe_subscription_id) <= 255
        AND octet_length(stripe_price_id) <= 255 AND octet_length(stripe_schedule_id) <= 255
    ),
    -- Stripe's largest amount: https://docs.stripe.com/currencies#minimum-and-maximum-charge-amounts
    CONSTRAINT subscriptions_price_possible CHECK (price_cents <= 999999999999999),
    CONSTRAINT subscriptions_times_plausible CHECK (
        least(
            current_period_start, current_period_end, cancel_at, canceled_at, trial_end, collection_resumes_at,
            usage_synced_at, created_at, updated_at
        ) >= '1970-01-01 00:00:00+00'
        AND greatest(
            current_period_start, current_period_end, cancel_at, canceled_at, trial_end, collection_resumes_at,
            usage_synced_at, created_at, updated_at
        ) < '2200-01-01 00:00:00+00'
    )
);

-- Stripe allows a customer two subscriptions at once; the lower one is kept as a marked duplicate. The statuses are
-- those of live_subscriptions, word for word, so that the index serves it too.
CREATE UNIQUE INDEX subscriptions_one_live_per_user ON subscriptions (user_id)
WHERE status IN ('trialing', 'active', 'past_due', 'unpaid', 'paused') AND NOT is_duplicate;

CREATE INDEX subscriptions_user_id ON subscriptions (user_id, created_at);
CREATE INDEX subscriptions_tier_status ON subscriptions (tier, status) INCLUDE (price_cents, currency);
CREATE INDEX subscriptions_due ON subscriptions (current_period_end) WHERE status IN ('trialing', 'active');
CREATE INDEX subscriptions_duplicates ON subscriptions (user_id) WHERE is_duplicate;

-- The back office's sorts and filters.
CREATE INDEX subscriptions_created_at ON subscriptions (created_at);
CREATE INDEX subscriptions_status ON subscriptions (status, created_at DESC);
CREATE INDEX subscriptions_tier ON subscriptions (tier, created_at DESC);
*/

--! tables/open_invoices
-- What a live subscription's customer owes, and what is about to be asked for: its invoices that are drafts, open or
-- given up (uncollectible). An invoice that is paid or void has no row, nor has one of a subscription that has ended.
-- amount_due_cents is what is still to be paid of it. overdue_since is when its due date passed or, where a payment
-- method is charged by itself, when it was sent and could not be paid. failure_code is of the last try.
CREATE TABLE open_invoices (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    stripe_invoice_id text NOT NULL CONSTRAINT open_invoices_stripe_invoice_id_key UNIQUE,
    user_id uuid NOT NULL CONSTRAINT open_invoices_user_id_fkey REFERENCES users (id) ON DELETE CASCADE,
    subscription_id uuid NOT NULL
    CONSTRAINT open_invoices_subscription_id_fkey REFERENCES subscriptions (id) ON DELETE CASCADE,
    number text,
    status text NOT NULL,
    amount_due_cents bigint NOT NULL,
    currency text NOT NULL DEFAULT 'usd',
    attempt_count bigint NOT NULL DEFAULT 0,
    next_attempt_at timestamptz,
    due_at timestamptz,
    overdue_since timestamptz,
    failure_code text,
    hosted_invoice_url text,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT open_invoices_status_known CHECK (status IN ('draft', 'open', 'uncollectible')),
    CONSTRAINT open_invoices_amount_positive CHECK (amount_due_cents > 0),
    -- Stripe's largest amount: https://docs.stripe.com/currencies#minimum-and-maximum-charge-amounts
    CONSTRAINT open_invoices_amount_possible CHECK (amount_due_cents <= 999999999999999),
    CONSTRAINT open_invoices_currency_iso CHECK (currency ~ '^[a-z]{3}$'),
    CONSTRAINT open_invoices_attempts_not_negative CHECK (attempt_count >= 0),
    CONSTRAINT open_invoices_ids_given CHECK (stripe_invoice_id <> ''),
    CONSTRAINT open_invoices_ids_short CHECK (octet_length(stripe_invoice_id) <= 255),
    CONSTRAINT open_invoices_texts_bounded CHECK (
        octet_length(number) <= 800 AND octet_length(failure_code) <= 800 AND octet_length(hosted_invoice_url) <= 8192
    ),
    CONSTRAINT open_invoices_times_plausible CHECK (
        least(next_attempt_at, due_at, overdue_since, created_at, updated_at) >= '1970-01-01 00:00:00+00'
        AND greatest(next_attempt_at, due_at, overdue_since, created_at, updated_at) < '2200-01-01 00:00:00+00'
    )
);

CREATE INDEX open_invoices_user_id ON open_invoices (user_id, created_at);
CREATE INDEX open_invoices_subscription_id ON open_invoices (subscription_id);

--! tables/reconciliation_runs
ALTER TABLE reconciliation_runs DROP CONSTRAINT reconciliation_runs_phase_known;
ALTER TABLE reconciliation_runs ADD COLUMN to_compare bigint NOT NULL DEFAULT 0;
ALTER TABLE reconciliation_runs ADD CONSTRAINT reconciliation_runs_phase_known CHECK ( phase IN ('events', 'customers', 'subscriptions', 'charges', 'invoices', 'unseen') ) NOT VALID;
/* The table is now:
-- Comparisons with Stripe. phase and position say where to resume; events_until is where the next run's listing starts;
-- to_compare is about how many objects there are.
CREATE TABLE reconciliation_runs (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    status text NOT NULL DEFAULT 'running',
    phase text NOT NULL DEFAULT 'events',
    position text,
    ingest boolean NOT NULL DEFAULT false,
    repair boolean NOT NULL DEFAULT false,
    events_from timestamptz NOT NULL,
    events_until timestamptz NOT NULL,
    request_budget int NOT NULL CONSTRAINT reconciliation_runs_budget_positive CHECK (request_budget > 0),
    requests int NOT NULL DEFAULT 0,
    to_compare bigint NOT NULL DEFAULT 0,
    compared int NOT NULL DEFAULT 0,
    missing_events int NOT NULL DEFAULT 0,
    differences_found int NOT NULL DEFAULT 0,
    repaired int NOT NULL DEFAULT 0,
    error text,
    actor text NOT NULL,
    reason text NOT NULL,
    started_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    finished_at timestamptz,
    CONSTRAINT reconciliation_runs_status_known CHECK (status IN ('running', 'paused', 'finished', 'failed')),
    CONSTRAINT reconciliation_runs_phase_known CHECK (
        phase IN ('events', 'customers', 'subscriptions', 'charges', 'invoices', 'unseen')
    ),
    CONSTRAINT reconciliation_runs_texts_bounded CHECK (octet_length(actor) <= 800 AND octet_length(reason) <= 8192),
    CONSTRAINT reconciliation_runs_times_plausible CHECK (
        least(events_from, events_until, started_at, updated_at, finished_at) >= '1970-01-01 00:00:00+00'
        AND greatest(events_from, events_until, started_at, updated_at, finished_at) < '2200-01-01 00:00:00+00'
    )
);

CREATE INDEX reconciliation_runs_started_at ON reconciliation_runs (started_at);
*/

--! functions/check_rate_limit
-- Counts one request of a key if it is within the limits that its user is entitled to, per minute (of the key) and per
-- calendar month, UTC (of the user), and says so. Returns one row: allowed, how many more requests the tighter window
-- has room for, when that window ends, and the reason: ok; rate, too many this minute; quota, the month is used up;
-- key, the key is unknown, revoked or expired or its user is not active, and reset_at is NULL. A refused request is not
-- counted.
--
-- Callers of one user queue behind each other until their transactions end, so that together they never pass the
-- limit: call it on its own. The month's count starts from the recorded usage and never falls behind it.
CREATE OR REPLACE FUNCTION check_rate_limit(api_key_id uuid)
RETURNS TABLE (allowed boolean, remaining int, reset_at timestamptz, reason text)
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = public, pg_temp
AS $$
#variable_conflict use_column
DECLARE
    key uuid := check_rate_limit.api_key_id;
    moment CONSTANT timestamptz := clock_timestamp();
    minute_start CONSTANT timestamptz := date_trunc('minute', moment);
    minute_end CONSTANT timestamptz := minute_start + interval '1 minute';
    month_start CONSTANT timestamptz := date_trunc('month', moment, 'UTC');
    month_end CONSTANT timestamptz := (date_trunc('month', moment AT TIME ZONE 'UTC') + interval '1 month') AT TIME ZONE 'UTC';
    month_seconds CONSTANT int := extract(epoch FROM month_end - month_start);
    owner uuid;
    per_minute bigint;
    per_month bigint;
    used_this_minute bigint;
    checked_this_month bigint;
    used_this_month bigint;
    left_this_minute bigint;
    left_this_month bigint;
BEGIN
    IF key IS NULL THEN
        RAISE EXCEPTION 'check_rate_limit: api_key_id is NULL' USING ERRCODE = 'invalid_parameter_value';
    END IF;
    SELECT
        u.id,
        coalesce(e.rate_limit_per_minute, free.rate_limit_per_minute),
        CASE WHEN e.user_id IS NULL THEN free.monthly_request_limit ELSE e.monthly_request_limit END
    INTO owner, per_minute, per_month
    FROM api_keys AS k
    INNER JOIN users AS u ON u.id = k.user_id
    LEFT JOIN entitlements AS e ON e.user_id = u.id
    INNER JOIN plans AS free ON free.tier = 'free'
    WHERE k.id = key
        AND u.status = 'active'
        AND k.revoked_at IS NULL
        AND coalesce(k.expires_at > moment, true);
    IF NOT FOUND THEN
        RETURN QUERY SELECT false, 0, NULL::timestamptz, 'key';
        RETURN;
    END IF;

    PERFORM pg_advisory_xact_lock(hashtextextended(format('check_rate_limit %s', owner), 0));
    SELECT coalesce(sum(r.request_count), 0) INTO used_this_minute
    FROM rate_limits AS r
    WHERE r.api_key_id = key AND r.window_seconds = 60 AND r.window_start = minute_start;
    left_this_minute := per_minute - used_this_minute - 1;

    IF per_month IS NOT NULL THEN
        SELECT coalesce(sum(r.request_count), 0) INTO checked_this_month
        FROM rate_limits AS r
        WHERE r.api_key_id IN (SELECT k.id FROM api_keys AS k WHERE k.user_id = owner)
            AND r.window_seconds = month_seconds
            AND r.window_start = month_start;
        SELECT greatest(checked_this_month, coalesce(sum(m.total_requests), 0)) INTO used_this_month
        FROM monthly_usage_summary AS m
        WHERE m.user_id = owner AND m.month = (month_start AT TIME ZONE 'UTC')::date;
        left_this_month := per_month - used_this_month - 1;
    END IF;

    IF left_this_month < 0 THEN
        RETURN QUERY SELECT false, 0, month_end, 'quota';
        RETURN;
    END IF;
    IF left_this_minute < 0 THEN
        RETURN QUERY SELECT false, 0, minute_end, 'rate';
        RETURN;
    END IF;

    INSERT INTO rate_limits AS r (api_key_id, window_start, window_seconds, request_count, expires_at)
    VALUES (key, minute_start, 60, 1, minute_end)
    ON CONFLICT (api_key_id, window_seconds, window_start) DO UPDATE SET request_count = r.request_count + 1;
    IF per_month IS NOT NULL THEN
        -- Catches up with what was recorded without a check, so that the sum over the user's keys is what is used.
        INSERT INTO rate_limits AS r (api_key_id, window_start, window_seconds, request_count, expires_at)
        VALUES (key, month_start, month_seconds, used_this_month + 1 - checked_this_month, month_end)
        ON CONFLICT (api_key_id, window_seconds, window_start)
        DO UPDATE SET request_count = r.request_count + excluded.request_count;
    END IF;
    RETURN QUERY
    SELECT
        true,
        least(left_this_minute, left_this_month, 2147483647)::int,
        CASE WHEN left_this_month < left_this_minute THEN month_end ELSE minute_end END,
        'ok';
END
$$;

REVOKE EXECUTE ON FUNCTION check_rate_limit(uuid) FROM public;

--! views/entitlements
-- What each customer's live subscription entitles to: its plan in the statuses that entitle, in others the free plan.
-- `tier` is the plan whose limits hold. A NULL monthly_request_limit is unlimited.
CREATE VIEW entitlements AS
SELECT
    s.id AS subscription_id,
    s.user_id,
    p.tier,
    e.status IS NOT NULL AS is_entitled,
    CASE WHEN e.status IS NULL THEN p.monthly_request_limit ELSE s.monthly_request_limit END AS monthly_request_limit,
    p.rate_limit_per_minute
FROM live_subscriptions AS s
LEFT JOIN entitled_statuses AS e ON s.status = e.status
INNER JOIN plans AS p ON p.tier = CASE WHEN e.status IS NULL THEN 'free' ELSE s.tier END
WHERE NOT s.is_duplicate;

--! triggers/open_invoices
CREATE TRIGGER set_updated_at BEFORE UPDATE ON open_invoices
FOR EACH ROW WHEN (old.* IS DISTINCT FROM new.*) EXECUTE FUNCTION set_updated_at();

--! triggers/subscriptions
-- Triggers fire in the order of their names: the guard and the completion come before set_updated_at compares the row.
CREATE TRIGGER complete_subscription BEFORE INSERT OR UPDATE OF tier, status, monthly_request_limit ON subscriptions
FOR EACH ROW EXECUTE FUNCTION complete_subscription();

CREATE TRIGGER guard_counters BEFORE UPDATE OF usage_count, usage_synced_at ON subscriptions
FOR EACH ROW WHEN (current_setting('app.counting', true) IS DISTINCT FROM 'on')
EXECUTE FUNCTION guard_subscription_counters();

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
current_period_start, current_period_end, cancel_at_period_end, cancel_at, canceled_at, trial_end, collection_paused,
collection_resumes_at, stripe_schedule_id, is_duplicate, monthly_request_limit, created_at
ON subscriptions
FOR EACH ROW EXECUTE FUNCTION audit_row_change('id', 'usage_count', 'usage_synced_at');
