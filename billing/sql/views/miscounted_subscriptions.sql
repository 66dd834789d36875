-- The live subscriptions whose usage_count is not what counts against their user's limit of this calendar month (UTC),
-- queued requests included, as far as the column counts; and what it should be.
CREATE VIEW miscounted_subscriptions AS
SELECT
    s.id,
    least(coalesce(m.used_requests, 0), 1000000000000000) AS requests
FROM live_subscriptions AS s
LEFT JOIN quota_usage AS m
    ON s.user_id = m.user_id AND m.month = date_trunc('month', now() AT TIME ZONE 'UTC')::date
WHERE s.usage_count <> least(coalesce(m.used_requests, 0), 1000000000000000);
