-- A partial index serves the views whose condition it repeats word for word: here live_subscriptions and what
-- counted_subscriptions says is paid for. https://www.postgresql.org/docs/current/indexes-partial.html

-- v_users_near_limit: the smallest limit that anybody has.
CREATE INDEX subscriptions_live_limits ON subscriptions (monthly_request_limit)
WHERE status IN ('trialing', 'active', 'past_due', 'unpaid', 'paused') AND NOT is_duplicate;

-- What pays, in a fifth of the table: v_revenue_metrics and v_paid_users_without_keys read nothing else of it.
CREATE INDEX subscriptions_paying ON subscriptions (user_id) INCLUDE (tier, price_cents, currency, created_at)
WHERE status IN ('active', 'past_due') AND tier <> 'free' AND NOT is_duplicate;
