-- Keeps users.stripe_customer_id in line with stripe_customers: a user's first customer becomes the primary one, and
-- one that is made so takes the place of the other.
CREATE FUNCTION keep_primary_customer() RETURNS trigger
LANGUAGE plpgsql
SET search_path = public, pg_temp
AS $$
DECLARE
    is_moved CONSTANT boolean := TG_OP = 'UPDATE' AND NEW.user_id <> OLD.user_id;
    named text;
BEGIN
    IF TG_OP = 'UPDATE' AND NEW.stripe_customer_id <> OLD.stripe_customer_id THEN
        RAISE EXCEPTION 'stripe_customers: % cannot become %', OLD.stripe_customer_id, NEW.stripe_customer_id
            USING ERRCODE = 'check_violation';
    END IF;
    IF is_moved THEN
        -- Whom it leaves finds another one when it has gone: follow_primary_customer().
        PERFORM set_config('app.linking', NEW.stripe_customer_id, true);
        UPDATE users AS u SET stripe_customer_id = NULL
        WHERE u.id = OLD.user_id AND u.stripe_customer_id = NEW.stripe_customer_id;
        PERFORM set_config('app.linking', '', true);
        NEW.chosen_at := NULL;
    END IF;

    SELECT u.stripe_customer_id INTO named FROM users AS u WHERE u.id = NEW.user_id FOR NO KEY UPDATE;
    NEW.is_primary := named IS NULL OR (NEW.is_primary AND NOT is_moved);
    IF NEW.is_primary AND named IS DISTINCT FROM NEW.stripe_customer_id THEN
        PERFORM set_config('app.linking', NEW.stripe_customer_id, true);
        UPDATE users AS u SET stripe_customer_id = NEW.stripe_customer_id WHERE u.id = NEW.user_id;
        PERFORM set_config('app.linking', '', true);
    ELSIF NOT NEW.is_primary AND named = NEW.stripe_customer_id THEN
        RAISE EXCEPTION 'stripe_customers: % is the primary one of user %', NEW.stripe_customer_id, NEW.user_id
            USING ERRCODE = 'check_violation', HINT = 'Make another of the user''s customers the primary one instead.';
    END IF;
    RETURN NEW;
END
$$;
