-- What is overdue of live subscriptions, one row an invoice: open, past its day and not on its way. mrr_cents is what
-- the subscription counts in MRR, nothing where it does not count any more. reason is the decline in words, the card
-- what the next try is charged to. last_contact_at is when staff last wrote to the customer, wrote something down about
-- them or gave them time, owner who looks after it, extended_until_on the day until which the customer has time.
CREATE VIEW v_payments_at_risk AS
SELECT
    o.user_id,
    u.email,
    o.stripe_invoice_id,
    o.amount_due_cents,
    o.currency,
    coalesce(p.mrr_cents, 0) AS mrr_cents,
    o.attempt_count,
    o.failure_code,
    o.next_attempt_at,
    d.overdue_since,
    round(extract(EPOCH FROM now() - d.overdue_since) / 86400, 2) AS days_overdue,
    o.number,
    s.tier,
    s.status AS subscription_status,
    o.decline_code,
    decline_words(coalesce(o.decline_code, o.failure_code)) AS reason,
    c.brand AS card_brand,
    c.last4 AS card_last4,
    c.expires_on AS card_expires_on,
    greatest(n.noted_at, r.asked_at, k.extended_at) AS last_contact_at,
    k.owner,
    k.extended_until_on,
    k.extended_until_on >= (now() AT TIME ZONE 'UTC')::date AS is_extended,
    o.subscription_id,
    o.id
FROM open_invoices AS o
INNER JOIN LATERAL (
    -- Nobody tells when a due date passes.
    SELECT coalesce(o.overdue_since, CASE WHEN o.due_at <= now() THEN o.due_at END) AS overdue_since
) AS d ON true
INNER JOIN users AS u ON o.user_id = u.id
INNER JOIN subscriptions AS s ON o.subscription_id = s.id
LEFT JOIN paying_subscriptions AS p ON o.subscription_id = p.subscription_id
LEFT JOIN charged_cards AS c ON o.subscription_id = c.subscription_id
LEFT JOIN payment_cases AS k ON o.stripe_invoice_id = k.stripe_invoice_id
LEFT JOIN LATERAL (
    SELECT max(e.created_at) AS noted_at
    FROM customer_notes AS e
    WHERE e.user_id = o.user_id
) AS n ON true
LEFT JOIN LATERAL (
    SELECT max(m.asked_at) AS asked_at
    FROM payment_reminders AS m
    WHERE m.user_id = o.user_id AND m.state <> 'refused'
) AS r ON true
WHERE
    o.status = 'open'
    AND d.overdue_since IS NOT NULL
    -- A debit takes days to settle.
    AND NOT EXISTS (
        SELECT
        FROM payment_history AS h
        WHERE h.stripe_invoice_id = o.stripe_invoice_id AND h.status = 'pending'
    );
