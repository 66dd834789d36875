-- The check on what Stripe was asked to change and does not say of whether it did.
CREATE VIEW health_of_stripe_requests AS
SELECT
    'unsettled_stripe_requests' AS check_name,
    coalesce(round(max(extract(EPOCH FROM now() - r.asked_at)) / 60, 1), 0) AS value,
    CASE count(*)
        WHEN 0 THEN 'It is known of every request to Stripe what became of it.'
        ELSE format(
            'Requests to Stripe that may have been made: %s, the first: %s of %s by %s since %s.',
            count(*), (array_agg(r.kind ORDER BY r.asked_at))[1],
            (array_agg(r.stripe_object_id ORDER BY r.asked_at))[1],
            (array_agg(r.actor ORDER BY r.asked_at))[1], date_trunc('second', min(r.asked_at))
        )
    END AS message
FROM stripe_requests AS r
WHERE r.state IN ('asked', 'unknown');
