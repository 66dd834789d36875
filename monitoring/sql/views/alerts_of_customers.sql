-- The paying customers without an API key that works.
CREATE VIEW alerts_of_customers AS
SELECT
    'paid_users_without_keys' AS check_name,
    p.user_id::text AS cause,
    'info' AS severity,
    coalesce(p.email, p.user_id::text) AS subject,
    format('Pays for the %s plan but has no API key that works.', p.tier) AS message,
    NULL::numeric AS value,
    p.subscribed_at AS detected_at,
    'user' AS object_type,
    p.user_id::text AS object_id,
    ARRAY[p.user_id::text] AS objects
FROM v_paid_users_without_keys AS p;
