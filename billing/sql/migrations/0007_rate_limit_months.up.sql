-- What a user's keys have taken of a month, which was a row of each key, becomes a row of the user. Only months that name
-- no user are taken, so it may be run again.
WITH months AS (
    DELETE FROM rate_limits WHERE window_seconds > 60 AND user_id IS NULL
    RETURNING api_key_id, window_start, window_seconds, request_count, expires_at
)
INSERT INTO rate_limits (api_key_id, window_start, window_seconds, request_count, expires_at, user_id)
SELECT
    (array_agg(m.api_key_id ORDER BY m.api_key_id))[1], m.window_start, m.window_seconds, sum(m.request_count),
    max(m.expires_at), k.user_id
FROM months AS m
INNER JOIN api_keys AS k ON k.id = m.api_key_id
GROUP BY k.user_id, m.window_start, m.window_seconds
ON CONFLICT (user_id, window_start) WHERE user_id IS NOT NULL
DO UPDATE SET request_count = rate_limits.request_count + excluded.request_count;
