-- SHA-256 of all that an audit row says, of each row of a range of ids. The same wherever the row lies, whatever the
-- session's settings, and after dump and restore. `as_id` asks what it would be if that were the row's id.
CREATE FUNCTION audit_digests(first_id bigint, last_id bigint, as_id bigint DEFAULT NULL)
RETURNS TABLE (id bigint, occurred_at timestamptz, digest bytea)
LANGUAGE sql
STABLE
SET search_path = public, pg_temp
AS $$
    SELECT
        a.id,
        a.occurred_at,
        sha256(convert_to(jsonb_build_array(
            coalesce(as_id, a.id),
            extract(EPOCH FROM a.occurred_at),
            a.actor,
            a.actor_kind,
            a.db_role,
            a.action,
            a.table_name,
            a.row_id,
            a.old_values,
            a.new_values,
            a.reason,
            a.request_id
        )::text, 'UTF8'))
    FROM audit_log AS a
    WHERE a.id BETWEEN first_id AND last_id
$$;
