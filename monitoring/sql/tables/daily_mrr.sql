-- Recurring revenue of each day (UTC) by tier: what it started with, what moved, what it ended with.
-- transfer_cents is what changed tier on the way; over all tiers of a day it is zero.
CREATE TABLE daily_mrr (
    day date NOT NULL,
    currency text NOT NULL,
    tier text NOT NULL,
    start_cents bigint NOT NULL,
    new_cents bigint NOT NULL,
    expansion_cents bigint NOT NULL,
    contraction_cents bigint NOT NULL,
    churn_cents bigint NOT NULL,
    reactivation_cents bigint NOT NULL,
    transfer_cents bigint NOT NULL,
    end_cents bigint NOT NULL,
    customers bigint NOT NULL,
    CONSTRAINT daily_mrr_pkey PRIMARY KEY (day, currency, tier),
    CONSTRAINT daily_mrr_adds_up CHECK (
        end_cents = start_cents + new_cents + expansion_cents + contraction_cents + churn_cents
        + reactivation_cents + transfer_cents
    ),
    CONSTRAINT daily_mrr_not_negative CHECK (end_cents >= 0 AND customers >= 0)
);
