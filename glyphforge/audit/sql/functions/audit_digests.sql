-- SHA-256 of all that an audit row says, of each row of a range of ids; `as_id` as for audit_digest().
CREATE FUNCTION audit_digests(first_id bigint, last_id bigint, as_id bigint DEFAULT NULL)
RETURNS TABLE (id bigint, occurred_at timestamptz, digest bytea)
LANGUAGE sql
STABLE
SET search_path = public, pg_temp
AS $$
    SELECT a.id, a.occurred_at, audit_digest(a, as_id)
    FROM audit_log AS a
    WHERE a.id BETWEEN first_id AND last_id
$$;
