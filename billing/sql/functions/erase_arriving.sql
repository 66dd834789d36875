-- Of an erased customer events and mirrored objects are stored without what they say of a person: Stripe may send it as
-- long as it has it. The argument names the column.
CREATE FUNCTION erase_arriving() RETURNS trigger
LANGUAGE plpgsql
SET search_path = public, pg_temp
AS $$
DECLARE
    content CONSTANT jsonb := to_jsonb(new) -> TG_ARGV[0];
    -- A mirrored row knows its customer even where the object does not name it.
    stripe_object CONSTANT jsonb := CASE TG_ARGV[0]
        WHEN 'payload' THEN content #> '{data,object}'
        ELSE content || jsonb_strip_nulls(jsonb_build_object(
            'customer', to_jsonb(new) -> 'customer_id', 'charge', to_jsonb(new) -> 'charge_id'
        ))
    END;
BEGIN
    IF is_of_erased(stripe_object) THEN
        new := jsonb_populate_record(new, jsonb_build_object(TG_ARGV[0], erased_stripe(content)));
        IF TG_ARGV[0] = 'stripe_data' THEN
            -- What dj-stripe keeps beside the object, where it does.
            new := jsonb_populate_record(new, jsonb_build_object(
                'metadata', erased_stripe(to_jsonb(new) -> 'metadata', 'metadata'), 'email', '', 'fingerprint', ''
            ));
        END IF;
    END IF;
    RETURN new;
END
$$;
