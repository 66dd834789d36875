-- What each key was used for. Exact: folded requests, plus from api_usage what is not folded yet; usage_count and
-- last_used_at include what waits in the counting queue.
--
-- A key's folded hours are looked up by key, after the LIMIT of a page, which takes that this view has no WITH: all of
-- a hundred thousand keys at once take a second or two, fifty of them, or one customer's, a few milliseconds.
CREATE VIEW v_api_key_usage_summary AS
SELECT
    k.id AS api_key_id,
    k.user_id,
    k.key_prefix,
    k.environment,
    (
        SELECT coalesce(sum(h.requests), 0)::bigint + coalesce(recent.requests, 0)
        FROM traffic_hours AS h
        WHERE h.api_key_id = k.id AND h.hour >= date_trunc('hour', now() - interval '23 hours', 'UTC')
    ) AS requests_last_24h,
    coalesce(folded.requests, 0) + coalesce(unfolded.requests, 0) AS requests_this_month,
    k.usage_count + coalesce(queued.requests, 0) AS usage_count,
    greatest(k.last_used_at, queued.last_request_at) AS last_used_at,
    k.revoked_at,
    k.expires_at,
    k.name
FROM api_keys AS k
LEFT JOIN traffic_key_months AS folded
    ON k.id = folded.api_key_id AND folded.month = date_trunc('month', now() AT TIME ZONE 'UTC')::date
LEFT JOIN (
    SELECT
        r.api_key_id,
        count(*) AS requests
    FROM recent_requests AS r
    WHERE r.api_key_id IS NOT NULL
    GROUP BY r.api_key_id
) AS recent ON k.id = recent.api_key_id
LEFT JOIN (
    SELECT
        u.api_key_id,
        count(*) AS requests
    FROM api_usage AS u
    WHERE
        u.id > (SELECT p.folded_to FROM traffic_progress AS p)
        -- Says nothing new; without it the planner expects a third of all requests and reads all of them.
        AND u.id <= 9223372036854775807
        AND u.created_at >= date_trunc('month', now() AT TIME ZONE 'UTC') AT TIME ZONE 'UTC'
        AND u.created_at < (date_trunc('month', now() AT TIME ZONE 'UTC') + interval '1 month') AT TIME ZONE 'UTC'
        AND u.api_key_id IS NOT NULL
    GROUP BY u.api_key_id
) AS unfolded ON k.id = unfolded.api_key_id
LEFT JOIN (
    SELECT
        d.api_key_id,
        sum(d.total_requests)::bigint AS requests,
        max(d.last_request_at) AS last_request_at
    FROM api_usage_deltas AS d
    WHERE d.api_key_id IS NOT NULL
    GROUP BY d.api_key_id
) AS queued ON k.id = queued.api_key_id;
