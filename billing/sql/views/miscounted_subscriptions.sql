-- The live subscriptions whose usage_count is not their user's requests of this calendar month (UTC), queued ones
-- included, as far as the column counts; and what it should be.
CREATE VIEW miscounted_subscriptions AS
SELECT
    s.id,
    least(coalesce(m.total_requests, 0), 1000000000000000) AS requests
FROM live_subscriptions AS s
LEFT JOIN monthly_usage_summary AS m
    ON s.user_id = m.user_id AND m.month = date_trunc('month', now() AT TIME ZONE 'UTC')::date
WHERE s.usage_count <> least(coalesce(m.total_requests, 0), 1000000000000000);
