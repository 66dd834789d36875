-- What each customer may use beyond the plan now, with any key. What was granted to one key is left out: it is that
-- key's alone.
CREATE VIEW extra_quota AS
SELECT
    g.user_id,
    least(sum(g.extra_requests), 1000000000000000)::bigint AS extra_requests,
    least(sum(g.extra_per_minute), 1000000000)::int AS extra_per_minute
FROM entitlement_grants AS g
WHERE g.api_key_id IS NULL AND g.starts_at <= statement_timestamp() AND g.ends_at > statement_timestamp()
GROUP BY g.user_id;
