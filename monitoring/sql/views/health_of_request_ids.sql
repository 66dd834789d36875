-- The check on request ids, which an API server has to make anew for each request.
CREATE VIEW health_of_request_ids AS
SELECT
    'request_id_conflicts' AS check_name,
    count(*)::numeric AS value,
    CASE count(*)
        WHEN 0 THEN 'No request id came back with another request within a day.'
        ELSE format(
            'Request ids that came back with other requests within a day, which are not counted: %s, of %s customers.',
            count(*), count(DISTINCT i.user_id)
        )
    END AS message
FROM api_usage_request_ids AS i
WHERE i.conflicted_at > now() - interval '24 hours';
