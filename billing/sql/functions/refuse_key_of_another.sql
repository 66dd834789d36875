-- A row that names a customer and a key of theirs names no key of somebody else's.
CREATE FUNCTION refuse_key_of_another() RETURNS trigger
LANGUAGE plpgsql
SET search_path = public, pg_temp
AS $$
BEGIN
    IF NOT EXISTS (SELECT FROM api_keys AS k WHERE k.id = NEW.api_key_id AND k.user_id = NEW.user_id) THEN
        RAISE EXCEPTION '%: customer % has no API key %', TG_TABLE_NAME, NEW.user_id, NEW.api_key_id
            USING ERRCODE = 'foreign_key_violation', HINT = 'Leave api_key_id empty for all keys of the customer.';
    END IF;
    RETURN NEW;
END
$$;
