-- Whoever writes an erased customer's row, Stripe's events, Cognito's sync or a person, brings nobody back by it.
CREATE FUNCTION keep_erased() RETURNS trigger
LANGUAGE plpgsql
SET search_path = public, pg_temp
AS $$
BEGIN
    new.email := NULL;
    new.name := '';
    IF new.status = 'active' THEN
        new.status := 'suspended';
    END IF;
    RETURN new;
END
$$;
