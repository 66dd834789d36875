-- What a customer may use and pays, past and present. One live row per user; the free plan is a row too.
-- price_cents is the monthly price after recurring discounts; a NULL monthly_request_limit is unlimited. cancel_at is
-- when it ends if nobody changes that; collection_paused says what becomes of its invoices while nothing is collected.
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
        AND octet_length(stripe_customer_id) <= 255 AND octet_length(stripe_price_id) <= 255
        AND octet_length(stripe_schedule_id) <= 255
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
