-- A row goes in two cases only. Retention removes it: then this transaction has a row in the log that says up to when,
-- which cleanup_audit_log() writes. Or it moves from the default partition to that of its month, which is being made
-- and hangs at no parent yet. What it says of a person may be erased: then this transaction has a row that names it,
-- which erase_audit_values() writes. No setting opens anything.
CREATE FUNCTION refuse_audit_change() RETURNS trigger
LANGUAGE plpgsql
SET search_path = public, pg_temp
SET timezone = 'UTC'
AS $$
BEGIN
    IF TG_OP = 'DELETE' THEN
        IF EXISTS (
            SELECT FROM audit_log AS a
            WHERE a.table_name = 'audit_log'
                AND a.row_id = pg_current_xact_id()::text
                AND a.occurred_at = now()
                AND a.action = 'retention'
                AND (a.new_values ->> 'before')::timestamptz > OLD.occurred_at
        ) OR (
            TG_TABLE_NAME = 'audit_log_default'
            AND EXISTS (
                SELECT FROM pg_class AS c
                WHERE c.oid = to_regclass(partition_name('audit_log'::regclass, OLD.occurred_at::date))::oid
                    AND NOT c.relispartition
            )
        )
        THEN
            RETURN OLD;
        END IF;
    ELSIF TG_OP = 'UPDATE' THEN
        IF to_jsonb(NEW) - '{old_values,new_values,reason}'::text[]
            = to_jsonb(OLD) - '{old_values,new_values,reason}'::text[]
            AND EXISTS (
                SELECT FROM audit_log AS a
                WHERE a.table_name = 'audit_log'
                    AND a.row_id = pg_current_xact_id()::text
                    AND a.occurred_at = now()
                    AND a.action = 'erasure'
                    AND a.new_values -> 'rows' ? OLD.id::text
            )
        THEN
            RETURN NEW;
        END IF;
    END IF;
    RAISE EXCEPTION 'audit_log: rows are append-only'
        USING ERRCODE = 'insufficient_privilege', DETAIL = format('%s on %s was refused.', TG_OP, TG_TABLE_NAME);
END
$$;
