-- Pays, but has no key that works: revoked and expired keys do not count. subscribed_at is when the subscription began.
CREATE VIEW v_paid_users_without_keys AS
SELECT
    s.user_id,
    u.email,
    s.tier,
    s.created_at AS subscribed_at
FROM subscriptions AS s
INNER JOIN users AS u ON s.user_id = u.id
WHERE
    s.status IN ('active', 'past_due')
    AND s.tier <> 'free'
    AND NOT s.is_duplicate
    AND u.status = 'active'
    AND NOT EXISTS (
        SELECT
        FROM api_keys AS k
        WHERE k.user_id = s.user_id AND k.revoked_at IS NULL AND (k.expires_at IS NULL OR k.expires_at > now())
    );
