-- What came in for a payment and went out again, signed and dated: payment_history's totals and every figure of money
-- are sums of these rows. Append-only, one row a fact; what turns out to be wrong is put right by further rows of the
-- same fact, counted by "number". They go only with their payment, which the next sync brings back from Stripe.
CREATE TABLE payment_movements (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    payment_id uuid NOT NULL
    CONSTRAINT payment_movements_payment_id_fkey REFERENCES payment_history (id) ON DELETE CASCADE,
    kind text NOT NULL,
    stripe_object_id text NOT NULL,
    number bigint NOT NULL DEFAULT 1,
    amount_cents bigint NOT NULL,
    currency text NOT NULL,
    occurred_at timestamptz NOT NULL,
    origin text NOT NULL DEFAULT 'stripe',
    created_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT payment_movements_one_a_fact UNIQUE (payment_id, kind, stripe_object_id, number),
    CONSTRAINT payment_movements_kind_known CHECK (kind IN (
        'charge', 'refund', 'refund_failed', 'dispute', 'dispute_reversed'
    )),
    CONSTRAINT payment_movements_number_possible CHECK (number BETWEEN 1 AND 1000000),
    -- What corrects a row has the other sign.
    CONSTRAINT payment_movements_sign_fits CHECK (
        amount_cents <> 0 AND (number > 1 OR (amount_cents > 0) = (kind NOT IN ('refund', 'dispute')))
    ),
    CONSTRAINT payment_movements_amount_possible CHECK (amount_cents BETWEEN -999999999999 AND 999999999999),
    CONSTRAINT payment_movements_currency_iso CHECK (currency ~ '^[a-z]{3}$'),
    CONSTRAINT payment_movements_origin_known CHECK (origin IN ('stripe', 'totals')),
    CONSTRAINT payment_movements_ids_given CHECK (stripe_object_id <> ''),
    CONSTRAINT payment_movements_ids_short CHECK (octet_length(stripe_object_id) <= 255),
    CONSTRAINT payment_movements_times_plausible CHECK (
        least(occurred_at, created_at) >= '1970-01-01 00:00:00+00'
        AND greatest(occurred_at, created_at) < '2200-01-01 00:00:00+00'
    )
);

-- What a day or a month came to.
CREATE INDEX payment_movements_occurred_at ON payment_movements (occurred_at) INCLUDE (kind, amount_cents, currency);
-- Support is told a refund or a dispute, whole or cut.
CREATE INDEX payment_movements_stripe_object_id ON payment_movements (stripe_object_id text_pattern_ops);
