-- A value of Stripe's without what it says of a person: numbers, ids, states, types, amounts and the catalogue stay.
-- What is known to stay is kept, and the rest goes, so that a member that Stripe adds does not slip through. `member`
-- is the name under which the value stands.
CREATE FUNCTION erased_stripe(content jsonb, member text DEFAULT '') RETURNS jsonb
LANGUAGE plpgsql
IMMUTABLE
SET search_path = public, pg_temp
AS $$
DECLARE
    kind CONSTANT text := jsonb_typeof(content);
    said CONSTANT text := CASE WHEN kind = 'string' THEN content #>> '{}' END;
BEGIN
    IF member ~ '^(.*_)?(emails?|name|phone|address|ip|url|pdf|secret|fingerprint|last4|dob|exp_month|exp_year)$'
        OR member IN (
            'shipping', 'billing_details', 'customer_details', 'collected_information', 'custom_fields', 'evidence',
            'owner', 'customer_tax_ids', 'tax_ids', 'line1', 'line2', 'city', 'postal_code', 'description', 'message',
            'headers', 'body', 'mandate_data'
        )
    THEN
        RETURN CASE WHEN kind = 'array' THEN '[]'::jsonb ELSE 'null'::jsonb END;
    END IF;
    IF kind = 'object' THEN
        IF content ->> 'object' IN ('price', 'plan', 'product', 'coupon', 'promotion_code', 'tax_rate') THEN
            RETURN content;
        END IF;
        RETURN (
            SELECT coalesce(jsonb_object_agg(m.key, erased_stripe(m.value, m.key)), '{}'::jsonb)
            FROM jsonb_each(content) AS m
            -- Of what the seller's programs wrote beside the object only what names our own rows.
            WHERE member <> 'metadata' OR m.key IN ('user_id', 'cognito_user_id', 'tier')
        );
    END IF;
    IF kind = 'array' THEN
        RETURN (
            SELECT coalesce(jsonb_agg(erased_stripe(m.value, member) ORDER BY m.n), '[]'::jsonb)
            FROM jsonb_array_elements(content) WITH ORDINALITY AS m (value, n)
        );
    END IF;
    IF kind <> 'string'
        OR said ~ '^[a-z][a-z0-9]*(_[A-Za-z0-9]+)*$'
        OR (
            member IN (
                'id', 'object', 'type', 'api_version', 'price', 'product', 'plan', 'coupon', 'lookup_key', 'user_id',
                'cognito_user_id', 'client_reference_id', 'idempotency_key'
            )
            AND said ~ '^[A-Za-z0-9._-]+$'
        )
        OR (member IN ('number', 'receipt_number', 'invoice_prefix') AND said ~ '^[A-Z0-9-]+$')
        OR (member LIKE '%\_decimal' AND said ~ '^-?[0-9.]+$')
    THEN
        RETURN content;
    END IF;
    RETURN 'null'::jsonb;
END
$$;
