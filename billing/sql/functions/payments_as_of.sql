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
