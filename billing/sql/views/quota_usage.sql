-- What counts against each customer's limit of a calendar month (UTC): the requests that quota_rule counts, and with
-- them what was corrected. After a change of the rule that may be less than nothing, which is nothing.
CREATE VIEW quota_usage AS
SELECT
    c.user_id,
    c.month,
    sum(c.counted)::bigint AS counted_requests,
    sum(c.corrected)::bigint AS corrected_requests,
    greatest(sum(c.counted) + sum(c.corrected), 0)::bigint AS used_requests
FROM (
    SELECT
        m.user_id,
        m.month,
        m.total_requests - CASE (SELECT r.counts FROM quota_rule AS r)
            WHEN 'served' THEN m.throttled_requests + m.server_errors
            ELSE 0
        END AS counted,
        0 AS corrected
    FROM monthly_usage_summary AS m
    UNION ALL
    SELECT
        u.user_id,
        u.month,
        0 AS counted,
        u.requests AS corrected
    FROM usage_corrections AS u
) AS c
GROUP BY c.user_id, c.month;
