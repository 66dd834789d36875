-- Frozen by `manage.py database freeze`: a later migration changes what this one made.

SET LOCAL check_function_bodies = off;

--! functions/customer_as_of
-- A customer as this database had them at a moment: rows as they are now with what the audit log says that was changed
-- since undone, deleted rows and those of another customer now included. Of a transaction all counts, from the moment
-- at which it began. Returns an object:
--   user, api_keys (by age)  their columns, without hashes and suspended_at; counters are null where they moved since
--   subscription             of the live ones the one that counts: best status, then highest tier; null without one
--   requests_this_month      of the calendar month (UTC) up to the moment; null where the rows are no longer kept
--   paid_cents               recorded until then, refunds and disputes taken off; null where in several currencies
--   paid                     the same by currency
--   known_from               since when the audit log knows the customer. At an earlier moment all else is null.
-- `user` is null, and so all else but known_from, when the row had been deleted. Times are UTC. A moment in the future
-- and a user that neither tables nor log know are errors.
CREATE FUNCTION customer_as_of(user_id uuid, at timestamptz) RETURNS jsonb
LANGUAGE plpgsql
STABLE
SET search_path = public, pg_temp
SET timezone = 'UTC'
SET datestyle = 'ISO'
AS $$
#variable_conflict use_column
DECLARE
    owner CONSTANT uuid := customer_as_of.user_id;
    moment CONSTANT timestamptz := customer_as_of.at;
    owner_now CONSTANT jsonb := (SELECT to_jsonb(u) FROM users AS u WHERE u.id = owner);
    known_from timestamptz;
    owner_then jsonb;
    subscription jsonb;
    keys jsonb;
    paid jsonb;
    requests bigint;
BEGIN
    IF owner IS NULL OR moment IS NULL THEN
        RAISE EXCEPTION 'customer_as_of: % is NULL', CASE WHEN owner IS NULL THEN 'user_id' ELSE 'at' END
            USING ERRCODE = 'invalid_parameter_value';
    ELSIF moment > clock_timestamp() THEN
        RAISE EXCEPTION 'customer_as_of: at is %, which is in the future', moment
            USING ERRCODE = 'invalid_parameter_value';
    END IF;

    SELECT CASE WHEN a.action = 'insert' THEN a.occurred_at ELSE l.begins_at END INTO known_from
    FROM audit_log AS a, (SELECT min(b.occurred_at) AS begins_at FROM audit_log AS b) AS l
    WHERE a.table_name = 'users' AND a.row_id = owner::text AND a.action IN ('insert', 'update', 'delete')
    ORDER BY a.id + 0  -- see row_as_of()
    LIMIT 1;
    IF NOT FOUND THEN
        IF owner_now IS NULL THEN
            RAISE EXCEPTION 'customer_as_of: there is and was no user %', owner
                USING ERRCODE = 'invalid_parameter_value';
        END IF;
        known_from := (SELECT min(a.occurred_at) FROM audit_log AS a);
    END IF;
    -- What retention removed was older than this.
    known_from := greatest(known_from, (
        SELECT max((a.new_values ->> 'before')::timestamptz) FROM audit_log AS a
        WHERE a.table_name = 'audit_log' AND a.action = 'retention'
    ));

    IF moment >= coalesce(known_from, '-infinity'::timestamptz) THEN
        owner_then := row_as_of('users', owner::text, owner_now, moment);
        owner_then := to_jsonb(jsonb_populate_record(NULL::users, owner_then)) - 'suspended_at'::text;
    END IF;
    IF owner_then IS NOT NULL THEN
        WITH theirs AS (
            SELECT s.id::text AS key FROM subscriptions AS s WHERE s.user_id = owner
            UNION
            SELECT a.row_id FROM audit_log AS a
            WHERE a.table_name = 'subscriptions' AND a.action IN ('update', 'delete')
                AND a.old_values ->> 'user_id' = owner::text
        )
        SELECT
            to_jsonb(t) || CASE
                WHEN s.usage_synced_at <= moment OR (s.id IS NOT NULL AND s.usage_synced_at IS NULL) THEN '{}'::jsonb
                ELSE '{"usage_count": null, "usage_synced_at": null}'::jsonb
            END
        INTO subscription
        FROM theirs
        LEFT JOIN subscriptions AS s ON s.id = theirs.key::uuid
        CROSS JOIN LATERAL jsonb_populate_record(
            NULL::subscriptions, row_as_of('subscriptions', theirs.key, to_jsonb(s), moment)
        ) AS t
        WHERE t.user_id = owner
            AND NOT t.is_duplicate
            AND t.status IN ('trialing', 'active', 'past_due', 'unpaid', 'paused')
        ORDER BY
            array_position(ARRAY['active', 'past_due', 'trialing', 'paused', 'unpaid'], t.status),
            array_position(ARRAY['enterprise', 'professional', 'starter', 'free'], t.tier),
            t.created_at DESC,
            t.id
        LIMIT 1;

        WITH theirs AS (
            SELECT k.id::text AS key FROM api_keys AS k WHERE k.user_id = owner
            UNION
            SELECT a.row_id FROM audit_log AS a
            WHERE a.table_name = 'api_keys' AND a.action IN ('update', 'delete')
                AND a.old_values ->> 'user_id' = owner::text
        ),
        -- Without the hashes, which not everybody who may see a key may see.
        today AS (
            SELECT
                k.id, k.user_id, k.name, k.environment, k.key_prefix, k.usage_count, k.last_used_at, k.expires_at,
                k.revoked_at, k.revoked_reason, k.created_at, k.updated_at
            FROM api_keys AS k
            INNER JOIN theirs ON k.id = theirs.key::uuid
        )
        SELECT
            coalesce(jsonb_agg(
                to_jsonb(t) - '{key_hash,key_fast_hash}'::text[] || CASE
                    WHEN n.last_used_at <= moment OR (n.id IS NOT NULL AND n.last_used_at IS NULL) THEN '{}'::jsonb
                    ELSE '{"usage_count": null, "last_used_at": null}'::jsonb
                END
                ORDER BY t.created_at, t.id
            ), '[]'::jsonb)
        INTO keys
        FROM theirs
        LEFT JOIN today AS n ON n.id::text = theirs.key
        CROSS JOIN LATERAL jsonb_populate_record(
            NULL::api_keys, row_as_of('api_keys', theirs.key, to_jsonb(n), moment)
        ) AS t
        WHERE t.user_id = owner;

        requests := requests_as_of(owner, moment);
        paid := payments_as_of(owner, moment);
    END IF;

    RETURN jsonb_build_object(
        'user', owner_then,
        'subscription', subscription,
        'api_keys', keys,
        'requests_this_month', requests,
        'paid_cents', CASE
            WHEN paid IS NULL THEN NULL
            WHEN paid = '{}'::jsonb THEN 0
            WHEN (SELECT count(*) FROM jsonb_object_keys(paid) AS k (currency)) = 1
                THEN (SELECT p.cents::bigint FROM jsonb_each_text(paid) AS p (currency, cents))
        END,
        'paid', paid,
        'known_from', known_from
    );
END
$$;

--! functions/payments_as_of
-- What a user had paid at a moment, by currency, as a JSON object of cents: the movements that were recorded here by
-- then, refunds and disputes taken off, of the payments that were the user's then. Payments that went to another user
-- since, or were deleted, are found in the audit log.
CREATE FUNCTION payments_as_of(owner uuid, at timestamptz) RETURNS jsonb
LANGUAGE sql
STABLE
SET search_path = public, pg_temp
SET timezone = 'UTC'
AS $$
    WITH moved AS MATERIALIZED (
        SELECT a.row_id FROM audit_log AS a
        WHERE a.table_name = 'payment_history' AND a.action IN ('update', 'delete')
            AND a.old_values ->> 'user_id' = owner::text
        UNION
        SELECT a.row_id FROM audit_log AS a
        WHERE a.table_name = 'payment_history' AND a.action = 'update'
            AND a.new_values @> jsonb_build_object('user_id', owner)
    ),
    come_and_gone AS MATERIALIZED (
        SELECT m.row_id, row_as_of('payment_history', m.row_id, jsonb_build_object('user_id', p.user_id), at) AS state
        FROM moved AS m
        LEFT JOIN payment_history AS p ON p.id = m.row_id::uuid
    ),
    counted AS (
        SELECT m.currency, m.amount_cents
        FROM payment_history AS p
        INNER JOIN payment_movements AS m ON m.payment_id = p.id
        WHERE p.user_id = owner AND m.created_at <= at
            AND NOT EXISTS (SELECT FROM come_and_gone AS c WHERE c.row_id = p.id::text)
        UNION ALL
        SELECT m.currency, m.amount_cents
        FROM come_and_gone AS c
        INNER JOIN payment_movements AS m ON m.payment_id = c.row_id::uuid
        WHERE c.state ->> 'user_id' = owner::text AND m.created_at <= at
        UNION ALL
        -- They went with their payment.
        SELECT m.old_values ->> 'currency', (m.old_values ->> 'amount_cents')::bigint
        FROM come_and_gone AS c
        INNER JOIN audit_log AS m
            ON m.table_name = 'payment_movements' AND m.action = 'delete' AND m.old_values ->> 'payment_id' = c.row_id
        WHERE c.state ->> 'user_id' = owner::text
            AND m.occurred_at > at
            AND (m.old_values ->> 'created_at')::timestamptz <= at
    )
    SELECT coalesce(jsonb_object_agg(s.currency, s.cents), '{}'::jsonb)
    FROM (SELECT c.currency, sum(c.amount_cents)::bigint AS cents FROM counted AS c GROUP BY c.currency) AS s
    WHERE s.cents <> 0
$$;

--! functions/requests_as_of
-- The requests of a user from the beginning of the calendar month (UTC) of a moment up to it, by their own dates; NULL
-- where that is not known any more. The month's total is exact at its last request, whatever became of the rows. Before
-- that the rows are counted, if they are all there still: not when their partition was dropped or some were deleted.
CREATE FUNCTION requests_as_of(owner uuid, at timestamptz) RETURNS bigint
LANGUAGE plpgsql
STABLE
SET search_path = public, pg_temp
AS $$
DECLARE
    month_start CONSTANT timestamptz := date_trunc('month', at, 'UTC');
    month_end CONSTANT timestamptz := (month_start AT TIME ZONE 'UTC' + interval '1 month') AT TIME ZONE 'UTC';
    total bigint;
    last_request_at timestamptz;
    kept bigint;
    requests bigint;
BEGIN
    SELECT m.total_requests, m.last_request_at INTO total, last_request_at
    FROM monthly_usage_summary AS m
    WHERE m.user_id = owner AND m.month = (month_start AT TIME ZONE 'UTC')::date;
    IF total IS NULL OR last_request_at <= at THEN
        RETURN coalesce(total, 0);
    END IF;
    SELECT count(*), count(*) FILTER (WHERE a.created_at <= at) INTO kept, requests
    FROM api_usage AS a
    WHERE a.user_id = owner AND a.created_at >= month_start AND a.created_at < month_end;
    RETURN CASE WHEN kept = total THEN requests END;
END
$$;

--! indexes/audit_log_former
-- What a customer had once and has no more: whose it was is kept by these rows alone.
CREATE INDEX audit_log_former_user ON audit_log ((old_values ->> 'user_id'), table_name)
WHERE (old_values ->> 'user_id') IS NOT NULL;
CREATE INDEX audit_log_former_payment ON audit_log ((old_values ->> 'payment_id'), table_name)
WHERE (old_values ->> 'payment_id') IS NOT NULL;

--! triggers/payment_history
CREATE OR REPLACE TRIGGER name_customer BEFORE INSERT ON payment_history
FOR EACH ROW WHEN (new.stripe_customer_id IS NULL AND new.stripe_charge_id IS NOT NULL)
EXECUTE FUNCTION name_stripe_customer();

CREATE OR REPLACE TRIGGER set_updated_at BEFORE UPDATE ON payment_history
FOR EACH ROW WHEN (old.* IS DISTINCT FROM new.*) EXECUTE FUNCTION set_updated_at();

CREATE OR REPLACE TRIGGER book_loaded_totals AFTER INSERT ON payment_history
REFERENCING NEW TABLE AS new_rows
FOR EACH STATEMENT EXECUTE FUNCTION book_payment_totals();

CREATE OR REPLACE TRIGGER book_changed_totals AFTER UPDATE ON payment_history
REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows
FOR EACH STATEMENT EXECUTE FUNCTION book_payment_totals();

-- Whose it was before, or what it was, is said nowhere else.
CREATE OR REPLACE TRIGGER audit_moved AFTER UPDATE OF user_id ON payment_history
FOR EACH ROW WHEN (old.user_id IS DISTINCT FROM new.user_id) EXECUTE FUNCTION audit_row_change('id');

CREATE OR REPLACE TRIGGER audit_deleted AFTER DELETE ON payment_history
FOR EACH ROW EXECUTE FUNCTION audit_row_change('id');

--! triggers/payment_movements
CREATE OR REPLACE TRIGGER refuse_change BEFORE UPDATE OR DELETE ON payment_movements
FOR EACH ROW EXECUTE FUNCTION refuse_payment_movement_change();

CREATE OR REPLACE TRIGGER refuse_truncate BEFORE TRUNCATE ON payment_movements
FOR EACH STATEMENT EXECUTE FUNCTION refuse_payment_movement_change();

CREATE OR REPLACE TRIGGER sum_up AFTER INSERT ON payment_movements
REFERENCING NEW TABLE AS new_rows
FOR EACH STATEMENT EXECUTE FUNCTION sum_payment_movements();

-- With its payment.
CREATE OR REPLACE TRIGGER audit_deleted AFTER DELETE ON payment_movements
FOR EACH ROW EXECUTE FUNCTION audit_row_change('id');
