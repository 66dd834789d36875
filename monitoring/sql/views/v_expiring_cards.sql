-- The subscriptions whose card will have expired when it is charged next, or has already. Not those that end before.
CREATE VIEW v_expiring_cards AS
SELECT
    s.user_id,
    u.email,
    c.brand AS card_brand,
    c.last4 AS card_last4,
    c.expires_on AS card_expires_on,
    d.next_charge_at,
    s.tier,
    s.price_cents AS mrr_cents,
    s.currency,
    s.id AS subscription_id
FROM charged_cards AS c
INNER JOIN subscriptions AS s ON c.subscription_id = s.id
INNER JOIN users AS u ON s.user_id = u.id
INNER JOIN LATERAL (
    SELECT CASE s.status WHEN 'trialing' THEN coalesce(s.trial_end, s.current_period_end) ELSE s.current_period_end END
        AS next_charge_at
) AS d ON true
WHERE
    s.status IN ('trialing', 'active', 'past_due')
    AND s.price_cents > 0
    AND NOT s.cancel_at_period_end
    AND (s.cancel_at IS NULL OR s.cancel_at > d.next_charge_at)
    AND s.collection_paused IS NULL
    AND (d.next_charge_at AT TIME ZONE 'UTC')::date > c.expires_on;
