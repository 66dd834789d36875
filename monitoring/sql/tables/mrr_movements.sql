-- The ledger of recurring revenue: every change of what a customer pays a month, and the subscription that caused it.
-- No foreign keys: the books outlive a deleted customer.
CREATE TABLE mrr_movements (
    id bigint GENERATED ALWAYS AS IDENTITY CONSTRAINT mrr_movements_pkey PRIMARY KEY,
    occurred_at timestamptz NOT NULL DEFAULT now(),
    user_id uuid NOT NULL,
    subscription_id uuid NOT NULL,
    audit_id bigint,
    kind text NOT NULL,
    currency text NOT NULL,
    amount_cents bigint NOT NULL,
    before_cents bigint NOT NULL,
    after_cents bigint NOT NULL,
    tier_before text,
    tier_after text,
    origin text NOT NULL DEFAULT 'change',
    transaction_id xid8 NOT NULL DEFAULT pg_current_xact_id(),
    CONSTRAINT mrr_movements_adds_up CHECK (amount_cents = after_cents - before_cents),
    CONSTRAINT mrr_movements_origin_known CHECK (origin IN ('change', 'history', 'reconciled')),
    CONSTRAINT mrr_movements_kind_fits CHECK (
        CASE kind
            WHEN 'new' THEN before_cents = 0 AND after_cents > 0
            WHEN 'reactivation' THEN before_cents = 0 AND after_cents > 0
            WHEN 'expansion' THEN before_cents > 0 AND amount_cents >= 0
            WHEN 'contraction' THEN after_cents > 0 AND amount_cents < 0
            WHEN 'churn' THEN before_cents > 0 AND after_cents = 0
            ELSE false
        END
    ),
    CONSTRAINT mrr_movements_tier_while_paying CHECK (
        (tier_before IS NOT NULL) = (before_cents > 0) AND (tier_after IS NOT NULL) = (after_cents > 0)
    ),
    CONSTRAINT mrr_movements_currency_iso CHECK (currency ~ '^[a-z]{3}$'),
    CONSTRAINT mrr_movements_texts_bounded CHECK (
        octet_length(kind) <= 63 AND octet_length(tier_before) <= 63 AND octet_length(tier_after) <= 63
    ),
    CONSTRAINT mrr_movements_amounts_possible CHECK (
        before_cents BETWEEN 0 AND 999999999999999 AND after_cents BETWEEN 0 AND 999999999999999
    ),
    CONSTRAINT mrr_movements_times_plausible CHECK (
        occurred_at >= '1970-01-01 00:00:00+00' AND occurred_at < '2200-01-01 00:00:00+00'
    )
);

CREATE INDEX mrr_movements_user_id ON mrr_movements (user_id, id DESC);
CREATE INDEX mrr_movements_occurred_at ON mrr_movements (occurred_at);

-- The back office's sorts and filters.
CREATE INDEX mrr_movements_kind ON mrr_movements (kind, occurred_at DESC);
CREATE INDEX mrr_movements_tier_after ON mrr_movements (tier_after, occurred_at DESC);
CREATE INDEX mrr_movements_day ON mrr_movements (((occurred_at AT TIME ZONE 'UTC')::date));
