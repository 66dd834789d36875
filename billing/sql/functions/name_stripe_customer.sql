-- Of a row of Stripe's whose writer did not say of which customer it is, it is the user's primary one.
CREATE FUNCTION name_stripe_customer() RETURNS trigger
LANGUAGE plpgsql
SET search_path = public, pg_temp
AS $$
BEGIN
    NEW.stripe_customer_id := (SELECT u.stripe_customer_id FROM users AS u WHERE u.id = NEW.user_id);
    RETURN NEW;
END
$$;
