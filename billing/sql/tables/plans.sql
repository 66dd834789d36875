-- What each tier is sold as. Limits are per calendar month (UTC) and per minute; a NULL limit is unlimited,
-- a NULL price is agreed with each customer.
CREATE TABLE plans (
    tier text PRIMARY KEY CONSTRAINT plans_tier_known CHECK (tier IN ('free', 'starter', 'professional', 'enterprise')),
    name text NOT NULL CONSTRAINT plans_name_given CHECK (name <> ''),
    monthly_request_limit bigint CONSTRAINT plans_monthly_request_limit_positive CHECK (monthly_request_limit > 0),
    rate_limit_per_minute int NOT NULL CONSTRAINT plans_rate_limit_positive CHECK (rate_limit_per_minute > 0),
    price_cents int CONSTRAINT plans_price_not_negative CHECK (price_cents >= 0),
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT plans_texts_bounded CHECK (octet_length(name) <= 800),
    CONSTRAINT plans_times_plausible CHECK (
        least(created_at, updated_at) >= '1970-01-01 00:00:00+00'
        AND greatest(created_at, updated_at) < '2200-01-01 00:00:00+00'
    )
);

INSERT INTO plans (tier, name, monthly_request_limit, rate_limit_per_minute, price_cents)
VALUES
('free', 'Free', 100, 10, 0),
('starter', 'Starter', 10000, 60, 2900),
('professional', 'Professional', 100000, 300, 9900),
('enterprise', 'Enterprise', NULL, 1000, NULL);
