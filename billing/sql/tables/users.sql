-- A customer. The address is unique whatever its case; it is NULL where Stripe has none or the customer was deleted,
-- whose row stays because payments refer to it. stripe_customer_id is the primary one of stripe_customers, and
-- suspended_at outlasts a deletion. legal_hold says why a customer must not be erased; erased_at when that was done:
-- what the row said of a person is gone then, and its figures stay.
CREATE TABLE users (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    cognito_user_id text CONSTRAINT users_cognito_user_id_key UNIQUE,
    stripe_customer_id text CONSTRAINT users_stripe_customer_id_key UNIQUE,
    email text,
    name text NOT NULL DEFAULT '',
    status text NOT NULL DEFAULT 'active',
    suspended_at timestamptz,
    legal_hold text,
    erased_at timestamptz,
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
    CONSTRAINT users_legal_hold_given CHECK (octet_length(legal_hold) BETWEEN 1 AND 8192),
    CONSTRAINT users_held_is_not_erased CHECK (legal_hold IS NULL OR erased_at IS NULL),
    CONSTRAINT users_erased_is_nobody CHECK (erased_at IS NULL OR (email IS NULL AND name = '' AND status <> 'active')),
    CONSTRAINT users_times_plausible CHECK (
        least(suspended_at, erased_at, created_at, updated_at) >= '1970-01-01 00:00:00+00'
        AND greatest(suspended_at, erased_at, created_at, updated_at) < '2200-01-01 00:00:00+00'
    )
);

CREATE UNIQUE INDEX users_email_key ON users (lower(email));

-- Prefix search as Django writes it: UPPER(column) LIKE UPPER('abc%'). A name may be longer than an index row can be.
CREATE INDEX users_email_prefix ON users (upper(email) text_pattern_ops);
CREATE INDEX users_name_prefix ON users (upper(left(name, 200)) text_pattern_ops);
CREATE INDEX users_created_at ON users (created_at);

-- The back office's sorts and filters.
CREATE INDEX users_status ON users (status, created_at DESC);

-- Whose data must not come back, asked of every event of Stripe's.
CREATE INDEX users_erased ON users (id) WHERE erased_at IS NOT NULL;
