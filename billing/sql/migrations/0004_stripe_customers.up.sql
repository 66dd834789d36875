-- Data step of stripe_customers, for installations that exist. Idempotent. After the tables, columns and functions of the
-- migration and before its triggers (then it leaves no audit rows and moves no updated_at; behind them it works too).
INSERT INTO stripe_customers (stripe_customer_id, user_id, is_primary, linked_by, linked_at, created_at, deleted_at)
SELECT u.stripe_customer_id, u.id, true, 'migration', u.created_at, d.created, t.deleted_at
FROM users AS u
LEFT JOIN djstripe_customer AS d ON d.id = u.stripe_customer_id
LEFT JOIN stripe_tombstones AS t ON t.stripe_id = u.stripe_customer_id
WHERE u.stripe_customer_id ~ '^[A-Za-z0-9_-]+$'
ON CONFLICT (stripe_customer_id) DO NOTHING;

-- Customers that a user had before the present one: what is theirs says so.
INSERT INTO stripe_customers (stripe_customer_id, user_id, is_primary, linked_by, linked_at, created_at, deleted_at)
SELECT DISTINCT ON (m.customer_id) m.customer_id, m.user_id, false, 'migration', m.created_at, d.created, t.deleted_at
FROM (
    SELECT o.customer_id, s.user_id, s.created_at
    FROM subscriptions AS s INNER JOIN djstripe_subscription AS o ON o.id = s.stripe_subscription_id
    UNION ALL
    SELECT o.customer_id, p.user_id, p.created_at
    FROM payment_history AS p INNER JOIN djstripe_charge AS o ON o.id = p.stripe_charge_id
) AS m
INNER JOIN users AS u ON u.id = m.user_id AND u.stripe_customer_id IS NOT NULL
LEFT JOIN djstripe_customer AS d ON d.id = m.customer_id
LEFT JOIN stripe_tombstones AS t ON t.stripe_id = m.customer_id
WHERE m.customer_id IS NOT NULL
ORDER BY m.customer_id, m.created_at
ON CONFLICT (stripe_customer_id) DO NOTHING;

UPDATE subscriptions AS s
SET stripe_customer_id = coalesce(
    (SELECT o.customer_id FROM djstripe_subscription AS o WHERE o.id = s.stripe_subscription_id), u.stripe_customer_id
)
FROM users AS u
WHERE u.id = s.user_id AND s.stripe_subscription_id IS NOT NULL AND s.stripe_customer_id IS NULL;

UPDATE payment_history AS p
SET stripe_customer_id = coalesce(
    (SELECT o.customer_id FROM djstripe_charge AS o WHERE o.id = p.stripe_charge_id), u.stripe_customer_id
)
FROM users AS u
WHERE u.id = p.user_id AND p.stripe_charge_id IS NOT NULL AND p.stripe_customer_id IS NULL;

-- Who is suspended, and who was when the deletion came: the last word of the audit log on the status.
UPDATE users AS u
SET suspended_at = coalesce(a.occurred_at, u.updated_at)
FROM users AS o
LEFT JOIN LATERAL (
    SELECT l.occurred_at, l.old_values ->> 'status' AS before, l.new_values ->> 'status' AS status
    FROM audit_log AS l
    WHERE l.table_name = 'users' AND l.row_id = o.id::text AND l.action = 'update' AND l.new_values ? 'status'
    ORDER BY l.id DESC
    LIMIT 1
) AS a ON true
WHERE
    u.id = o.id AND u.suspended_at IS NULL
    AND (u.status = 'suspended' OR (u.status = 'deleted' AND a.before = 'suspended'));

-- What waits, by the sentences of the releases before; what had died of waiting waits again.
UPDATE stripe_webhook_events AS e
SET
    waits_for = array_remove(ARRAY[w.key, lower(w.address)], NULL),
    status = 'failed', attempts = 1, next_retry_at = now()
FROM (
    SELECT
        o.id,
        coalesce(
            substring(o.last_error FROM '^No plan claims price (\S+) of subscription'),
            substring(o.last_error FROM '^Stripe customer (\S+) (?:has the e-mail address|names customer)'),
            lower(substring(o.last_error FROM '^The e-mail address (\S+) of Stripe customer \S+ already belongs'))
        ) AS key,
        substring(o.last_error FROM 'has the e-mail address of a customer here \(([^()\s]+)\)') AS address
    FROM stripe_webhook_events AS o
    WHERE o.status IN ('failed', 'dead') AND o.waits_for IS NULL
) AS w
WHERE e.id = w.id AND w.key IS NOT NULL AND octet_length(w.key) <= 255;
