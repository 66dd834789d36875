-- Frozen by `manage.py database freeze`: a later migration changes what this one made.

SET LOCAL check_function_bodies = off;

DROP TRIGGER book_changed_totals ON payment_history;
DROP TRIGGER book_loaded_totals ON payment_history;
DROP TRIGGER set_updated_at ON payment_history;
DROP TRIGGER name_customer ON payment_history;

DROP TRIGGER set_updated_at ON stripe_webhook_events;

DROP TRIGGER audit ON users;
DROP TRIGGER default_subscription ON users;
DROP TRIGGER set_updated_at ON users;
DROP TRIGGER relink_primary_customer ON users;
DROP TRIGGER link_primary_customer ON users;
DROP TRIGGER keep_suspension ON users;

DROP TRIGGER set_updated_at ON open_invoices;

--! tables/users
ALTER TABLE users DROP CONSTRAINT users_times_plausible;
ALTER TABLE users ADD COLUMN legal_hold text;
ALTER TABLE users ADD COLUMN erased_at timestamptz;
ALTER TABLE users ADD CONSTRAINT users_legal_hold_given CHECK (octet_length(legal_hold) BETWEEN 1 AND 8192) NOT VALID;
ALTER TABLE users ADD CONSTRAINT users_held_is_not_erased CHECK (legal_hold IS NULL OR erased_at IS NULL) NOT VALID;
ALTER TABLE users ADD CONSTRAINT users_erased_is_nobody CHECK (erased_at IS NULL OR (email IS NULL AND name = '' AND status <> 'active')) NOT VALID;
ALTER TABLE users ADD CONSTRAINT users_times_plausible CHECK ( least(suspended_at, erased_at, created_at, updated_at) >= '1970-01-01 00:00:00+00' AND greatest(suspended_at, erased_at, created_at, updated_at) < '2200-01-01 00:00:00+00' ) NOT VALID;
CREATE INDEX users_erased ON users (id) WHERE erased_at IS NOT NULL;
/* The table is now:
-- A customer. The address is unique whatever its case; it is NULL where Stripe has none or the customer was deleted,
-- whose row stays because payments refer to it. stripe_customer_id is the primary one of stripe_customers, and
-- suspended_at outlasts a deletion. legal_hold says why a customer must not be erased; erased_at when that was done:
-- what the row said of a person is gone then, and its figures stay.
CREATE TABLE users (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    cognito_user_id text CONSTRAINT users_cognito_user_id_key UNIQUE,
    stripe_customer_id text CONSTRAINT users_stripe_customer_id_key UNIQUE,
    email text,
    name text NOT NULL DEFAULT '',
    status text NOT NULL DEFAULT 'active',
    suspended_at timestamptz,
    legal_hold text,
    erased_at timestamptz,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT users_status_known CHECK (status IN ('active', 'suspended', 'deleted')),
    CONSTRAINT users_email_plausible CHECK (email ~ '^[^@\s]+@[^@\s]+$'),
    -- An empty string is not "no id": two of them would collide on the unique key.
    CONSTRAINT users_ids_given CHECK (cognito_user_id <> '' AND stripe_customer_id <> ''),
    CONSTRAINT users_ids_short CHECK (
        octet_length(cognito_user_id) <= 255 AND octet_length(stripe_customer_id) <= 255
    ),
    CONSTRAINT users_email_short CHECK (octet_length(email) <= 512),
    CONSTRAINT users_name_length CHECK (octet_length(name) <= 8192),
    CONSTRAINT users_legal_hold_given CHECK (octet_length(legal_hold) BETWEEN 1 AND 8192),
    CONSTRAINT users_held_is_not_erased CHECK (legal_hold IS NULL OR erased_at IS NULL),
    CONSTRAINT users_erased_is_nobody CHECK (erased_at IS NULL OR (email IS NULL AND name = '' AND status <> 'active')),
    CONSTRAINT users_times_plausible CHECK (
        least(suspended_at, erased_at, created_at, updated_at) >= '1970-01-01 00:00:00+00'
        AND greatest(suspended_at, erased_at, created_at, updated_at) < '2200-01-01 00:00:00+00'
    )
);

CREATE UNIQUE INDEX users_email_key ON users (lower(email));

-- Prefix search as Django writes it: UPPER(column) LIKE UPPER('abc%'). A name may be longer than an index row can be.
CREATE INDEX users_email_prefix ON users (upper(email) text_pattern_ops);
CREATE INDEX users_name_prefix ON users (upper(left(name, 200)) text_pattern_ops);
CREATE INDEX users_created_at ON users (created_at);

-- The back office's sorts and filters.
CREATE INDEX users_status ON users (status, created_at DESC);

-- Whose data must not come back, asked of every event of Stripe's.
CREATE INDEX users_erased ON users (id) WHERE erased_at IS NOT NULL;
*/

--! functions/erase_arriving
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

--! functions/erase_audit_of
-- Erases what the audit log says of a customer; returns how many rows changed. Only for whom another person approved
-- that; what is erased is decided here, by erased_audit_rows(), and not by who calls. Every row keeps its seal.
CREATE FUNCTION erase_audit_of(customer uuid) RETURNS bigint
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = public, pg_temp
AS $$
BEGIN
    PERFORM require_approval('erase_customer', customer::text);
    RETURN erase_audit_values(ARRAY(SELECT e FROM erased_audit_rows(customer) AS e));
END
$$;

REVOKE EXECUTE ON FUNCTION erase_audit_of(uuid) FROM public;

--! functions/erase_document_links
-- Documents at Stripe say who paid: an erased customer's rows do not lead there.
CREATE FUNCTION erase_document_links() RETURNS trigger
LANGUAGE plpgsql
SET search_path = public, pg_temp
AS $$
BEGIN
    IF EXISTS (SELECT FROM users AS u WHERE u.id = new.user_id AND u.erased_at IS NOT NULL) THEN
        new := jsonb_populate_record(new, (
            SELECT jsonb_object_agg(m.name, NULL) FROM unnest(TG_ARGV) AS m (name)
        ));
    END IF;
    RETURN new;
END
$$;

--! functions/erase_usage_of
-- Takes addresses and messages from up to `most` requests of a customer; returns of how many. Only for whom another
-- person approved that. Nothing that is counted changes.
CREATE FUNCTION erase_usage_of(customer uuid, most int DEFAULT 10000) RETURNS bigint
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = public, pg_temp
AS $$
DECLARE
    erased bigint;
BEGIN
    PERFORM require_approval('erase_customer', customer::text);
    UPDATE api_usage AS r
    SET ip_address = NULL, error_message = NULL
    FROM (
        SELECT o.id, o.created_at
        FROM api_usage AS o
        WHERE o.user_id = customer AND (o.ip_address IS NOT NULL OR o.error_message IS NOT NULL)
        LIMIT most
    ) AS f
    WHERE r.id = f.id AND r.created_at = f.created_at;
    GET DIAGNOSTICS erased = ROW_COUNT;
    RETURN erased;
END
$$;

REVOKE EXECUTE ON FUNCTION erase_usage_of(uuid, int) FROM public;

--! functions/erased_audit_rows
-- The rows of the audit log that say something of a customer, as they are to read once the customer is erased. Of rows
-- about the customer go name and address whatever they are, the words of notes, names of keys, and addresses in
-- reasons; of all other rows what personal_terms() names.
CREATE FUNCTION erased_audit_rows(customer uuid) RETURNS SETOF audit_log
LANGUAGE plpgsql
STABLE
SET search_path = public, pg_temp
SET jit = off
AS $$
DECLARE
    pattern CONSTANT text := personal_pattern(personal_terms(customer));
    address CONSTANT text := '[[:alnum:]._%+-]+@[[:alnum:]-]+[.][[:alnum:].-]*[[:alnum:]]';
BEGIN
    RETURN QUERY
    WITH own AS (
        SELECT 'users' AS table_name, customer::text AS row_id
        UNION ALL
        SELECT 'api_keys', k.id::text FROM api_keys AS k WHERE k.user_id = customer
        UNION ALL
        SELECT 'stripe_customers', c.stripe_customer_id FROM stripe_customers AS c WHERE c.user_id = customer
        UNION ALL
        SELECT 'subscriptions', s.id::text FROM subscriptions AS s WHERE s.user_id = customer
        UNION ALL
        SELECT 'payment_history', p.id::text FROM payment_history AS p WHERE p.user_id = customer
        UNION ALL
        SELECT 'approvals', p.id::text FROM approvals AS p WHERE p.subject = customer::text
    ),

    about AS (
        SELECT a.* FROM own AS o JOIN audit_log AS a ON o.table_name = a.table_name AND o.row_id = a.row_id
    ),

    erased AS (
        SELECT jsonb_populate_record(a, jsonb_build_object(
            'old_values', nameless(a.table_name, erased_json(erased_json(a.old_values, pattern), address)),
            'new_values', nameless(a.table_name, erased_json(erased_json(a.new_values, pattern), address)),
            'reason', CASE
                WHEN a.action = 'add_note' THEN '[erased]'
                ELSE erased_text(erased_text(a.reason, pattern), address)
            END
        )) AS entry, a::audit_log AS before
        FROM audit_log AS a
        WHERE (a.id, a.occurred_at) IN (SELECT b.id, b.occurred_at FROM about AS b)
        UNION ALL
        SELECT jsonb_populate_record(a, jsonb_build_object(
            'old_values', erased_json(a.old_values, pattern),
            'new_values', erased_json(a.new_values, pattern),
            'reason', erased_text(a.reason, pattern)
        )), a
        FROM audit_log AS a
        WHERE pattern <> ''
            AND (a.old_values::text ~* pattern OR a.new_values::text ~* pattern OR a.reason ~* pattern)
            AND (a.id, a.occurred_at) NOT IN (SELECT b.id, b.occurred_at FROM about AS b)
            AND a.table_name NOT LIKE 'auth\_%' AND a.table_name NOT LIKE 'account\_%'
            AND a.table_name NOT LIKE 'socialaccount\_%' AND a.table_name <> 'audit_log'
    )

    SELECT (e.entry).* FROM erased AS e WHERE e.entry IS DISTINCT FROM e.before;
END
$$;

--! functions/erased_json
-- The value with `[erased]` in place of all that the pattern, of personal_pattern(), finds in its texts and keys.
CREATE FUNCTION erased_json(content jsonb, pattern text) RETURNS jsonb
LANGUAGE plpgsql
IMMUTABLE
SET search_path = public, pg_temp
AS $$
BEGIN
    IF pattern = '' OR content::text !~* pattern THEN
        RETURN content;
    END IF;
    RETURN CASE jsonb_typeof(content)
        WHEN 'string' THEN to_jsonb(erased_text(content #>> '{}', pattern))
        WHEN 'object' THEN (
            SELECT jsonb_object_agg(erased_text(m.key, pattern), erased_json(m.value, pattern))
            FROM jsonb_each(content) AS m
        )
        WHEN 'array' THEN (
            SELECT jsonb_agg(erased_json(m.value, pattern) ORDER BY m.n)
            FROM jsonb_array_elements(content) WITH ORDINALITY AS m (value, n)
        )
        ELSE content
    END;
END
$$;

--! functions/erased_stripe
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

--! functions/erased_text
-- The text with `[erased]` in place of all that the pattern, of personal_pattern(), finds.
CREATE FUNCTION erased_text(content text, pattern text) RETURNS text
LANGUAGE sql
IMMUTABLE
SET search_path = public, pg_temp
AS $$
    SELECT CASE WHEN pattern <> '' THEN regexp_replace(content, pattern, '[erased]', 'gi') ELSE content END
$$;

--! functions/events_of_customer
-- The events of the inbox that are about a customer: their customers at Stripe, what belongs to those, and what belongs
-- to their payments without naming a customer, such as a dispute.
CREATE FUNCTION events_of_customer(customer uuid) RETURNS SETOF stripe_webhook_events
LANGUAGE sql
STABLE
SET search_path = public, pg_temp
AS $$
    SELECT e.*
    FROM stripe_webhook_events AS e
    WHERE e.id IN (
        SELECT f.id
        FROM (
            SELECT jsonb_build_object(m.name, c.stripe_customer_id) AS member
            FROM stripe_customers AS c CROSS JOIN unnest('{id,customer}'::text[]) AS m (name)
            WHERE c.user_id = customer
            UNION ALL
            SELECT jsonb_build_object('customer', jsonb_build_object('id', c.stripe_customer_id))
            FROM stripe_customers AS c
            WHERE c.user_id = customer
            UNION ALL
            SELECT jsonb_build_object('charge', p.stripe_charge_id)
            FROM payment_history AS p
            WHERE p.user_id = customer AND p.stripe_charge_id IS NOT NULL
        ) AS w
        JOIN stripe_webhook_events AS f
            ON f.payload @> jsonb_build_object('data', jsonb_build_object('object', w.member))
    )
$$;

--! functions/is_of_erased
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

--! functions/keep_erased
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

--! functions/nameless
-- What an audit row says of a row of the table, with `[erased]` for names and addresses that it holds.
CREATE FUNCTION nameless(of_table text, said jsonb) RETURNS jsonb
LANGUAGE sql
IMMUTABLE
SET search_path = public, pg_temp
AS $$
    SELECT CASE
        WHEN of_table IN ('users', 'api_keys') THEN said || coalesce((
            SELECT jsonb_object_agg(m.key, '[erased]')
            FROM jsonb_each(said) AS m
            WHERE m.key IN ('email', 'name', 'legal_hold') AND m.value NOT IN ('null', '""')
        ), '{}'::jsonb)
        ELSE said
    END
$$;

--! functions/personal_pattern
-- A regular expression that finds the terms in texts, whatever their case, as whole words, the longest first; empty
-- without terms. An address of one is not found in another that ends or begins with it.
CREATE FUNCTION personal_pattern(terms text[]) RETURNS text
LANGUAGE sql
IMMUTABLE
SET search_path = public, pg_temp
AS $$
    SELECT coalesce(
        string_agg(
            CASE
                WHEN t.term ~ '@|%40' THEN '(?<![[:alnum:]._%+-])' || t.escaped || '(?![[:alnum:]]|[.-][[:alnum:]])'
                ELSE '(?<![[:alnum:]])' || t.escaped || '(?![[:alnum:]])'
            END,
            '|' ORDER BY length(t.term) DESC, t.term
        ),
        ''
    )
    FROM (
        SELECT u.term, regexp_replace(u.term, '([^[:alnum:][:space:]])', '\\\1', 'g') AS escaped
        FROM unnest(terms) AS u (term)
    ) AS t
$$;

--! functions/personal_terms
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

--! functions/personal_values
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

--! functions/refuse_unerasing
-- What was erased is gone: the row stays the one of somebody who was erased.
CREATE FUNCTION refuse_unerasing() RETURNS trigger
LANGUAGE plpgsql
SET search_path = public, pg_temp
AS $$
BEGIN
    RAISE EXCEPTION 'users: customer % was erased on % and stays so', old.id, (old.erased_at AT TIME ZONE 'UTC')::date
        USING ERRCODE = 'restrict_violation';
END
$$;

--! triggers/djstripe_bankaccount
CREATE TRIGGER erase_arriving BEFORE INSERT OR UPDATE ON djstripe_bankaccount
FOR EACH ROW EXECUTE FUNCTION erase_arriving('stripe_data');

--! triggers/djstripe_card
CREATE TRIGGER erase_arriving BEFORE INSERT OR UPDATE ON djstripe_card
FOR EACH ROW EXECUTE FUNCTION erase_arriving('stripe_data');

--! triggers/djstripe_charge
CREATE TRIGGER erase_arriving BEFORE INSERT OR UPDATE ON djstripe_charge
FOR EACH ROW EXECUTE FUNCTION erase_arriving('stripe_data');

--! triggers/djstripe_customer
CREATE TRIGGER erase_arriving BEFORE INSERT OR UPDATE ON djstripe_customer
FOR EACH ROW EXECUTE FUNCTION erase_arriving('stripe_data');

--! triggers/djstripe_dispute
CREATE TRIGGER erase_arriving BEFORE INSERT OR UPDATE ON djstripe_dispute
FOR EACH ROW EXECUTE FUNCTION erase_arriving('stripe_data');

--! triggers/djstripe_invoice
CREATE TRIGGER erase_arriving BEFORE INSERT OR UPDATE ON djstripe_invoice
FOR EACH ROW EXECUTE FUNCTION erase_arriving('stripe_data');

--! triggers/djstripe_invoiceitem
CREATE TRIGGER erase_arriving BEFORE INSERT OR UPDATE ON djstripe_invoiceitem
FOR EACH ROW EXECUTE FUNCTION erase_arriving('stripe_data');

--! triggers/djstripe_paymentintent
CREATE TRIGGER erase_arriving BEFORE INSERT OR UPDATE ON djstripe_paymentintent
FOR EACH ROW EXECUTE FUNCTION erase_arriving('stripe_data');

--! triggers/djstripe_paymentmethod
CREATE TRIGGER erase_arriving BEFORE INSERT OR UPDATE ON djstripe_paymentmethod
FOR EACH ROW EXECUTE FUNCTION erase_arriving('stripe_data');

--! triggers/djstripe_refund
CREATE TRIGGER erase_arriving BEFORE INSERT OR UPDATE ON djstripe_refund
FOR EACH ROW EXECUTE FUNCTION erase_arriving('stripe_data');

--! triggers/djstripe_session
CREATE TRIGGER erase_arriving BEFORE INSERT OR UPDATE ON djstripe_session
FOR EACH ROW EXECUTE FUNCTION erase_arriving('stripe_data');

--! triggers/djstripe_setupintent
CREATE TRIGGER erase_arriving BEFORE INSERT OR UPDATE ON djstripe_setupintent
FOR EACH ROW EXECUTE FUNCTION erase_arriving('stripe_data');

--! triggers/djstripe_source
CREATE TRIGGER erase_arriving BEFORE INSERT OR UPDATE ON djstripe_source
FOR EACH ROW EXECUTE FUNCTION erase_arriving('stripe_data');

--! triggers/djstripe_subscription
CREATE TRIGGER erase_arriving BEFORE INSERT OR UPDATE ON djstripe_subscription
FOR EACH ROW EXECUTE FUNCTION erase_arriving('stripe_data');

--! triggers/djstripe_taxid
CREATE TRIGGER erase_arriving BEFORE INSERT OR UPDATE ON djstripe_taxid
FOR EACH ROW EXECUTE FUNCTION erase_arriving('stripe_data');

--! triggers/open_invoices
CREATE TRIGGER erase_links BEFORE INSERT OR UPDATE OF user_id, hosted_invoice_url ON open_invoices
FOR EACH ROW WHEN (new.hosted_invoice_url IS NOT NULL) EXECUTE FUNCTION erase_document_links('hosted_invoice_url');

CREATE TRIGGER set_updated_at BEFORE UPDATE ON open_invoices
FOR EACH ROW WHEN (old.* IS DISTINCT FROM new.*) EXECUTE FUNCTION set_updated_at();

--! triggers/payment_history
CREATE TRIGGER erase_links BEFORE INSERT OR UPDATE OF user_id, invoice_url, receipt_url ON payment_history
FOR EACH ROW WHEN (new.invoice_url IS NOT NULL OR new.receipt_url IS NOT NULL)
EXECUTE FUNCTION erase_document_links('invoice_url', 'receipt_url');

CREATE TRIGGER name_customer BEFORE INSERT ON payment_history
FOR EACH ROW WHEN (new.stripe_customer_id IS NULL AND new.stripe_charge_id IS NOT NULL)
EXECUTE FUNCTION name_stripe_customer();

CREATE TRIGGER set_updated_at BEFORE UPDATE ON payment_history
FOR EACH ROW WHEN (old.* IS DISTINCT FROM new.*) EXECUTE FUNCTION set_updated_at();

CREATE TRIGGER book_loaded_totals AFTER INSERT ON payment_history
REFERENCING NEW TABLE AS new_rows
FOR EACH STATEMENT EXECUTE FUNCTION book_payment_totals();

CREATE TRIGGER book_changed_totals AFTER UPDATE ON payment_history
REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows
FOR EACH STATEMENT EXECUTE FUNCTION book_payment_totals();

--! triggers/stripe_webhook_events
CREATE TRIGGER erase_arriving BEFORE INSERT OR UPDATE OF payload ON stripe_webhook_events
FOR EACH ROW WHEN (new.payload <> '{}') EXECUTE FUNCTION erase_arriving('payload');

CREATE TRIGGER set_updated_at BEFORE UPDATE ON stripe_webhook_events
FOR EACH ROW WHEN (old.* IS DISTINCT FROM new.*) EXECUTE FUNCTION set_updated_at();

--! triggers/users
CREATE TRIGGER keep_erased BEFORE INSERT OR UPDATE ON users
FOR EACH ROW WHEN (new.erased_at IS NOT NULL) EXECUTE FUNCTION keep_erased();

CREATE TRIGGER refuse_revival BEFORE UPDATE OF erased_at ON users
FOR EACH ROW WHEN (old.erased_at IS NOT NULL AND new.erased_at IS DISTINCT FROM old.erased_at)
EXECUTE FUNCTION refuse_unerasing();

CREATE TRIGGER keep_suspension BEFORE INSERT OR UPDATE OF status ON users
FOR EACH ROW EXECUTE FUNCTION keep_suspension();

CREATE TRIGGER link_primary_customer AFTER INSERT ON users
FOR EACH ROW WHEN (new.stripe_customer_id IS NOT NULL) EXECUTE FUNCTION link_primary_customer();

CREATE TRIGGER relink_primary_customer AFTER UPDATE OF stripe_customer_id ON users
FOR EACH ROW WHEN (old.stripe_customer_id IS DISTINCT FROM new.stripe_customer_id)
EXECUTE FUNCTION link_primary_customer();

CREATE TRIGGER set_updated_at BEFORE UPDATE ON users
FOR EACH ROW WHEN (old.* IS DISTINCT FROM new.*) EXECUTE FUNCTION set_updated_at();

CREATE TRIGGER default_subscription AFTER INSERT ON users
REFERENCING NEW TABLE AS new_users
FOR EACH STATEMENT EXECUTE FUNCTION create_free_subscriptions();

CREATE TRIGGER audit AFTER INSERT OR UPDATE OR DELETE ON users
FOR EACH ROW EXECUTE FUNCTION audit_row_change('id', 'suspended_at');
