-- Whether an object of Stripe's belongs to a customer who was erased: itself, by its customer or by its payment.
CREATE FUNCTION is_of_erased(stripe_object jsonb) RETURNS boolean
LANGUAGE plpgsql
STABLE
SET search_path = public, pg_temp
AS $$
DECLARE
    named text[];
BEGIN
    -- Of most installations most of the time there is none.
    IF NOT EXISTS (SELECT FROM users AS u WHERE u.erased_at IS NOT NULL) THEN
        RETURN false;
    END IF;
    named := (
        SELECT array_agg(coalesce(stripe_object -> m.name ->> 'id', stripe_object ->> m.name))
        FROM unnest('{id,customer,charge,payment_intent,invoice,subscription}'::text[]) AS m (name)
        WHERE coalesce(stripe_object -> m.name ->> 'id', stripe_object ->> m.name) IS NOT NULL
    );
    RETURN EXISTS (
        SELECT FROM stripe_customers AS c
        JOIN users AS u ON c.user_id = u.id
        WHERE c.stripe_customer_id = ANY (named) AND u.erased_at IS NOT NULL
    ) OR EXISTS (
        SELECT FROM subscriptions AS s
        JOIN users AS u ON s.user_id = u.id
        WHERE s.stripe_subscription_id = ANY (named) AND u.erased_at IS NOT NULL
    ) OR EXISTS (
        SELECT FROM payment_history AS p
        JOIN users AS u ON p.user_id = u.id
        WHERE u.erased_at IS NOT NULL
            AND (
                p.stripe_charge_id = ANY (named) OR p.stripe_payment_intent_id = ANY (named)
                OR p.stripe_invoice_id = ANY (named)
            )
    );
END
$$;
