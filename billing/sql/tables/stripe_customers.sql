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
