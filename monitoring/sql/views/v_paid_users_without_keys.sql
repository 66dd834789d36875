-- Pays, but has no key that works: revoked and expired keys do not count. subscribed_at is when the subscription began.
CREATE VIEW v_paid_users_without_keys AS
SELECT
    s.user_id,
    u.email,
    s.tier,
    s.created_at AS subscribed_at
FROM counted_subscriptions AS s
-- Looked up for the few who are left; without OFFSET the planner would read all of them before.
INNER JOIN LATERAL (
    SELECT c.email
    FROM users AS c
    WHERE c.id = s.user_id AND c.status = 'active'
    OFFSET 0 -- noqa: AM09
) AS u ON true
WHERE
    s.is_paid_for
    AND NOT EXISTS (
        SELECT
        FROM api_keys AS k
        WHERE k.user_id = s.user_id AND k.revoked_at IS NULL AND (k.expires_at IS NULL OR k.expires_at > now())
    );
