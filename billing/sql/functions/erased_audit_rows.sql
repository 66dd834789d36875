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
