-- v_revenue_metrics: a payment that Stripe dated counts then, another one when it was written.
CREATE INDEX payment_history_effective_at ON payment_history ((coalesce(paid_at, created_at)));
