-- The subscriptions that go on. Of a user's several all but one are duplicates, which entitle to nothing.
CREATE VIEW live_subscriptions AS
SELECT
    s.id,
    s.user_id,
    s.tier,
    s.status,
    s.is_duplicate,
    s.price_cents,
    s.currency,
    s.monthly_request_limit,
    s.usage_count,
    s.created_at
FROM subscriptions AS s
WHERE s.status IN ('trialing', 'active', 'past_due', 'unpaid', 'paused');
