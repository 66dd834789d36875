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
