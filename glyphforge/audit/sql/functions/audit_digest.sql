-- SHA-256 of all that an audit row says. The same wherever the row lies, whatever the session's settings, and after
-- dump and restore. `as_id` asks what it would be if that were the row's id.
CREATE FUNCTION audit_digest(entry audit_log, as_id bigint DEFAULT NULL) RETURNS bytea
LANGUAGE sql
STABLE
SET search_path = public, pg_temp
AS $$
    SELECT sha256(convert_to(jsonb_build_array(
        coalesce(as_id, entry.id),
        extract(EPOCH FROM entry.occurred_at),
        entry.actor,
        entry.actor_kind,
        entry.db_role,
        entry.action,
        entry.table_name,
        entry.row_id,
        entry.old_values,
        entry.new_values,
        entry.reason,
        entry.request_id
    )::text, 'UTF8'))
$$;
