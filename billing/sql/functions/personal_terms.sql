-- What a customer can be recognised by wherever it stands: addresses, names, telephone numbers and IP addresses, of now
-- and of before. Left out is what says little: short words, words of our own, which stand in the functions of this
-- database, addresses of private networks, and what another customer is called too, for in a text nobody can tell which
-- of them is meant.
CREATE FUNCTION personal_terms(customer uuid) RETURNS text[]
LANGUAGE sql
STABLE
SET search_path = public, pg_temp
SET jit = off
AS $$
    WITH customers AS (
        SELECT array_agg(c.stripe_customer_id) AS ids FROM stripe_customers AS c WHERE c.user_id = customer
    ),

    documents AS (
        SELECT d.stripe_data AS content FROM customers AS c JOIN djstripe_customer AS d ON d.id = ANY (c.ids)
        UNION ALL
        SELECT d.stripe_data FROM customers AS c JOIN djstripe_charge AS d ON d.customer_id = ANY (c.ids)
        UNION ALL
        SELECT d.stripe_data FROM customers AS c JOIN djstripe_invoice AS d ON d.customer_id = ANY (c.ids)
        UNION ALL
        SELECT d.stripe_data FROM customers AS c JOIN djstripe_paymentmethod AS d ON d.customer_id = ANY (c.ids)
        UNION ALL
        SELECT d.stripe_data FROM customers AS c JOIN djstripe_session AS d ON d.customer_id = ANY (c.ids)
        UNION ALL
        SELECT d.stripe_data
        FROM customers AS c
        JOIN djstripe_charge AS h ON h.customer_id = ANY (c.ids)
        JOIN djstripe_dispute AS d ON h.id = d.charge_id
        UNION ALL
        SELECT e.payload FROM events_of_customer(customer) AS e
    ),

    said AS (
        SELECT u.email AS content FROM users AS u WHERE u.id = customer
        UNION ALL
        SELECT u.name FROM users AS u WHERE u.id = customer
        UNION ALL
        SELECT v.content
        FROM audit_log AS a
        CROSS JOIN unnest(ARRAY[
            a.old_values ->> 'email', a.new_values ->> 'email', a.old_values ->> 'name', a.new_values ->> 'name'
        ]) AS v (content)
        WHERE a.table_name = 'users' AND a.row_id = customer::text
        UNION ALL
        SELECT p FROM documents AS d CROSS JOIN personal_values(d.content) AS p
        UNION ALL
        SELECT DISTINCT host(r.ip_address) FROM api_usage AS r WHERE r.user_id = customer
    ),

    terms AS (
        SELECT DISTINCT btrim(s.content) AS term FROM said AS s
    ),

    telling AS (
        SELECT t.term
        FROM terms AS t
        WHERE length(t.term) BETWEEN 5 AND 500
            AND CASE
                WHEN t.term ~ '@' THEN true
                WHEN t.term ~ '^[0-9.]+$' OR t.term ~ '^[0-9a-fA-F:.]*:[0-9a-fA-F:.]*$' THEN
                    t.term !~ '^(10\.|127\.|192\.168\.|169\.254\.|172\.(1[6-9]|2[0-9]|3[01])\.|::1$|f[cde])'
                    AND length(t.term) >= 7
                WHEN t.term ~ '^[-+() ./0-9]+$' THEN length(regexp_replace(t.term, '[^0-9]', '', 'g')) >= 7
                ELSE length(t.term) >= 6 AND NOT EXISTS (
                    SELECT FROM pg_proc AS f
                    WHERE f.pronamespace = 'public'::regnamespace AND f.prosrc ~* personal_pattern(ARRAY[t.term])
                )
            END
            AND NOT EXISTS (
                SELECT FROM users AS u
                WHERE u.id <> customer
                    AND (
                        lower(u.email) = lower(t.term)
                        OR (upper(left(u.name, 200)) = upper(left(t.term, 200)) AND lower(u.name) = lower(t.term))
                    )
            )
            AND NOT EXISTS (SELECT FROM plans AS p WHERE lower(t.term) IN (lower(p.name), p.tier))
    )

    SELECT coalesce(array_agg(DISTINCT v.term), '{}')
    FROM telling AS t
    -- As it stands in a link.
    CROSS JOIN unnest(ARRAY[t.term, replace(replace(t.term, '@', '%40'), '+', '%2B')]) AS v (term)
$$;
