-- Keeps stripe_customers in line with users.stripe_customer_id: the one named there is the primary one, also when it
-- was set by SQL; the one before stays with the user. What keep_primary_customer() is about to write is left to it.
CREATE FUNCTION link_primary_customer() RETURNS trigger
LANGUAGE plpgsql
SET search_path = public, pg_temp
AS $$
DECLARE
    under_way CONSTANT text := coalesce(current_setting('app.linking', true), '');
    owner uuid;
BEGIN
    IF NEW.stripe_customer_id IS NULL THEN
        IF under_way <> '' THEN
            RETURN NULL;
        END IF;
        IF (SELECT count(*) FROM stripe_customers AS c WHERE c.user_id = NEW.id) > 1 THEN
            RAISE EXCEPTION 'users: % has other Stripe customers, one of which has to be the primary one', NEW.id
                USING ERRCODE = 'check_violation', HINT = 'Set stripe_customer_id to one of them.';
        END IF;
        DELETE FROM stripe_customers AS c WHERE c.user_id = NEW.id;
        RETURN NULL;
    END IF;

    UPDATE stripe_customers AS c
    SET is_primary = false, chosen_at = NULL
    WHERE c.user_id = NEW.id AND c.is_primary AND c.stripe_customer_id NOT IN (NEW.stripe_customer_id, under_way);
    IF NEW.stripe_customer_id = under_way THEN
        RETURN NULL;
    END IF;
    INSERT INTO stripe_customers AS c (stripe_customer_id, user_id, is_primary)
    VALUES (NEW.stripe_customer_id, NEW.id, true)
    ON CONFLICT (stripe_customer_id) DO UPDATE SET is_primary = true WHERE c.user_id = NEW.id;
    IF NOT FOUND THEN
        SELECT c.user_id INTO owner FROM stripe_customers AS c WHERE c.stripe_customer_id = NEW.stripe_customer_id;
        RAISE EXCEPTION 'users: Stripe customer % belongs to user %', NEW.stripe_customer_id, owner
            USING ERRCODE = 'unique_violation', HINT = 'Move it by stripe_customers.user_id.';
    END IF;
    RETURN NULL;
END
$$;
