-- What each key was used for. Exact: folded requests, plus from api_usage what is not folded yet; usage_count and
-- last_used_at include what waits in the counting queue.
--
-- What a key had in 24 hours is looked up by key, after the LIMIT of a page, which takes that this view has no WITH:
-- all of a hundred thousand keys at once take a second or two, fifty of them, or one customer's, a fraction.
CREATE VIEW v_api_key_usage_summary AS
SELECT
    k.id AS api_key_id,
    k.user_id,
    k.key_prefix,
    k.environment,
    (
        SELECT coalesce(sum(h.requests), 0)::bigint
        FROM traffic_hours AS h
        WHERE
            h.api_key_id = k.id
            AND h.hour >= date_trunc('hour', now() - interval '23 hours', 'UTC')
            AND h.hour <= now()
    ) + (
        SELECT count(*)
        FROM recent_requests AS r
        WHERE r.api_key_id = k.id
    ) AS requests_last_24h,
    coalesce(folded.requests, 0) + coalesce(fresh.requests_this_month, 0) AS requests_this_month,
    k.usage_count + coalesce(fresh.queued_requests, 0) AS usage_count,
    greatest(k.last_used_at, fresh.last_request_at) AS last_used_at,
    k.revoked_at,
    k.expires_at,
    k.name
FROM api_keys AS k
LEFT JOIN traffic_key_months AS folded
    ON k.id = folded.api_key_id AND folded.month = date_trunc('month', now() AT TIME ZONE 'UTC')::date
LEFT JOIN fresh_key_usage AS fresh ON k.id = fresh.api_key_id;
