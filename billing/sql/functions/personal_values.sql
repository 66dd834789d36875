-- What objects of Stripe's inside the value say of a person: names, addresses, telephone numbers, and IP addresses.
CREATE FUNCTION personal_values(content jsonb) RETURNS SETOF text
LANGUAGE sql
IMMUTABLE
SET search_path = public, pg_temp
AS $$
    SELECT DISTINCT m.value #>> '{}'
    FROM jsonb_path_query(content, '$.** ? (@.type() == "object")') AS o
    CROSS JOIN jsonb_each(o) AS m
    WHERE jsonb_typeof(m.value) = 'string'
        AND (
            m.key ~ '^(.*_)?(email|phone|ip)$'
            OR m.key IN ('line1', 'line2', 'address_line1', 'address_line2', 'customer_name', 'customer_email_address')
            -- What is sold has a name too.
            OR (m.key = 'name' AND (o ?| '{email,phone,address}' OR o ->> 'object' = 'card'))
        )
$$;
