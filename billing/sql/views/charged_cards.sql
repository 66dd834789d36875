-- The card that each live subscription at Stripe is charged with: the subscription's own, or else the customer's
-- default, as it was last heard of. Where neither is known here, as after a takeover, that of the customer's last
-- charge. Not every payment method is a card. expires_on is the last day on which it can be charged.
-- https://docs.stripe.com/api/subscriptions/object#subscription_object-default_payment_method
CREATE VIEW charged_cards AS
SELECT
    s.id AS subscription_id,
    s.user_id,
    m.id AS payment_method_id,
    c.card ->> 'brand' AS brand,
    c.card ->> 'last4' AS last4,
    CASE
        WHEN c.card ->> 'exp_month' ~ '^0?[1-9]$|^1[0-2]$' AND c.card ->> 'exp_year' ~ '^2[01]\d\d$'
            THEN (
                make_date((c.card ->> 'exp_year')::int, (c.card ->> 'exp_month')::int, 1) + interval '1 month - 1 day'
            )::date
    END AS expires_on
FROM subscriptions AS s
LEFT JOIN djstripe_subscription AS o ON s.stripe_subscription_id = o.id
LEFT JOIN djstripe_customer AS u ON s.stripe_customer_id = u.id
LEFT JOIN djstripe_paymentmethod AS m
    ON coalesce(
        o.stripe_data ->> 'default_payment_method', u.stripe_data #>> '{invoice_settings,default_payment_method}'
    ) = m.id
LEFT JOIN LATERAL (
    SELECT h.stripe_data #> '{payment_method_details,card}' AS card
    FROM djstripe_charge AS h
    WHERE m.id IS NULL AND h.customer_id = s.stripe_customer_id
    ORDER BY h.created DESC, h.id DESC
    LIMIT 1
) AS l ON true
INNER JOIN LATERAL (
    SELECT coalesce(m.stripe_data -> 'card', l.card) AS card
) AS c ON jsonb_typeof(c.card) = 'object'
WHERE
    s.status IN ('trialing', 'active', 'past_due', 'unpaid', 'paused')
    AND s.stripe_subscription_id IS NOT NULL;
