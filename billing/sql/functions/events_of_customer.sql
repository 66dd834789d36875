-- The events of the inbox that are about a customer: their customers at Stripe, what belongs to those, and what belongs
-- to their payments without naming a customer, such as a dispute.
CREATE FUNCTION events_of_customer(customer uuid) RETURNS SETOF stripe_webhook_events
LANGUAGE sql
STABLE
SET search_path = public, pg_temp
AS $$
    SELECT e.*
    FROM stripe_webhook_events AS e
    WHERE e.id IN (
        SELECT f.id
        FROM (
            SELECT jsonb_build_object(m.name, c.stripe_customer_id) AS member
            FROM stripe_customers AS c CROSS JOIN unnest('{id,customer}'::text[]) AS m (name)
            WHERE c.user_id = customer
            UNION ALL
            SELECT jsonb_build_object('customer', jsonb_build_object('id', c.stripe_customer_id))
            FROM stripe_customers AS c
            WHERE c.user_id = customer
            UNION ALL
            SELECT jsonb_build_object('charge', p.stripe_charge_id)
            FROM payment_history AS p
            WHERE p.user_id = customer AND p.stripe_charge_id IS NOT NULL
        ) AS w
        JOIN stripe_webhook_events AS f
            ON f.payload @> jsonb_build_object('data', jsonb_build_object('object', w.member))
    )
$$;
