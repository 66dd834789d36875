-- What waits for a person, however many events it keeps waiting: one row a customer at Stripe who is nobody's, of more
-- than twenty one for all the others; and one row a price or address.
CREATE VIEW alerts_of_waiting AS
SELECT
    t.check_name,
    w.cause,
    CASE WHEN w.causes > t.critical_at THEN 'critical' ELSE 'warning' END AS severity,
    w.subject,
    w.message,
    w.events::numeric AS value,
    w.since AS detected_at,
    w.object_type,
    w.cause AS object_id,
    w.objects
FROM (
    SELECT
        'unmatched_stripe_customers' AS check_name,
        u.stripe_customer_id AS cause,
        u.causes,
        left(concat_ws(' ', u.stripe_customer_id, u.email), 200) AS subject,
        concat('Events that wait: ' || c.events || '. ', plain_error(u.reason)) AS message,
        coalesce(c.events, 0) AS events,
        u.first_seen_at AS since,
        'unmatched_customer' AS object_type,
        c.objects
    FROM (
        SELECT
            s.*,
            count(*) OVER () AS causes,
            row_number() OVER (ORDER BY s.first_seen_at, s.stripe_customer_id) AS place
        FROM unmatched_stripe_customers AS s
    ) AS u
    LEFT JOIN waiting_causes AS c ON u.stripe_customer_id = c.cause
    WHERE u.place <= 20
    UNION ALL
    SELECT
        'unmatched_stripe_customers' AS check_name,
        NULL AS cause,
        count(*) AS causes,
        'Customers at Stripe who belong to nobody here' AS subject,
        format('And %s more of them.', count(*) - 20) AS message,
        count(*) - 20 AS events,
        now() AS since,
        'check' AS object_type,
        '{}'::text[] AS objects
    FROM unmatched_stripe_customers
    HAVING count(*) > 20
    UNION ALL
    SELECT
        'waiting_events' AS check_name,
        c.cause,
        count(*) OVER () AS causes,
        left(c.cause, 200) AS subject,
        format('Events that wait: %s. %s', c.events, plain_error(c.error)) AS message,
        c.events,
        c.since,
        'waiting_cause' AS object_type,
        c.objects
    FROM waiting_causes AS c
    WHERE NOT EXISTS (
        SELECT FROM unmatched_stripe_customers AS u
        WHERE u.stripe_customer_id = c.cause
    )
) AS w
INNER JOIN health_checks AS t ON w.check_name = t.check_name
WHERE w.causes > least(t.warning_at, t.critical_at);
