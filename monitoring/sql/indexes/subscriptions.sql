-- v_users_near_limit: the smallest limit that anybody has.
CREATE INDEX subscriptions_live_limits ON subscriptions (monthly_request_limit)
WHERE status IN ('trialing', 'active', 'past_due', 'unpaid', 'paused') AND NOT is_duplicate;
