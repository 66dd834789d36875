-- Puts the old_values, new_values and reason of the given rows in place of what those rows say; returns how many rows
-- changed. It is for what a person has a right to have forgotten. A row of its own in the log, action `erasure`, holds
-- for each changed row the digest of before and after: seals.verify() takes a row whose digest leads from the sealed
-- one to the present one over such rows, and no other. It runs with the rights of who calls it: the owner's functions.
CREATE FUNCTION erase_audit_values(erased audit_log[]) RETURNS bigint
LANGUAGE plpgsql
SET search_path = public, pg_temp
AS $$
DECLARE
    digests jsonb;
    changed bigint;
BEGIN
    -- Whether a row is sealed must not change meanwhile.
    PERFORM pg_advisory_xact_lock(hashtextextended('audit_log seals', 0));
    digests := (
        SELECT jsonb_object_agg(d.id::text, jsonb_build_array(encode(d.before, 'hex'), encode(d.after, 'hex')))
        FROM (
            SELECT
                a.id,
                audit_digest(a) AS before,
                audit_digest(e::audit_log) AS after
            FROM unnest(erased) AS e
            JOIN audit_log AS a ON e.id = a.id AND e.occurred_at = a.occurred_at
        ) AS d
        WHERE d.before <> d.after
    );
    IF digests IS NULL THEN
        RETURN 0;
    END IF;
    PERFORM write_audit(
        'erasure', 'audit_log', pg_current_xact_id()::text, NULL, jsonb_build_object('rows', digests)
    );
    UPDATE audit_log AS a
    SET old_values = e.old_values, new_values = e.new_values, reason = e.reason
    FROM unnest(erased) AS e
    WHERE a.id = e.id AND a.occurred_at = e.occurred_at AND digests ? a.id::text;
    GET DIAGNOSTICS changed = ROW_COUNT;
    RETURN changed;
END
$$;
