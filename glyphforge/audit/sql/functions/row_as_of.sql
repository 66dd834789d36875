-- A row of an audited table as it was at a moment, as JSON without its masked columns' values: what the log says that
-- was changed since is undone, the last change first. `today` is the row as it is, NULL where there is none now.
-- Returns NULL when there was none then. Columns that the audit leaves out are today's; but updated_at, which is when
-- the row was last changed before, and null where the log does not reach back to that.
--
-- A change counts from the moment at which its transaction began. Of two changes of one row the one with the higher id
-- was made later, even if its transaction began earlier: from the first change after the moment on all are undone.
CREATE FUNCTION row_as_of(relation text, key text, today jsonb, at timestamptz) RETURNS jsonb
LANGUAGE plpgsql
STABLE
SET search_path = public, pg_temp
SET timezone = 'UTC'
AS $$
DECLARE
    -- "+ 0": by the index of the row, not along the ids of the whole log until one of the row comes.
    first_since CONSTANT bigint := (
        SELECT min(a.id + 0) FROM audit_log AS a
        WHERE a.table_name = relation AND a.row_id = key AND a.occurred_at > at
            AND a.action IN ('insert', 'update', 'delete')
    );
    state jsonb := today;
    change record;
BEGIN
    IF first_since IS NULL THEN
        RETURN state;
    END IF;
    FOR change IN
        SELECT a.action, a.old_values FROM audit_log AS a
        WHERE a.table_name = relation AND a.row_id = key AND a.id >= first_since
            AND a.action IN ('insert', 'update', 'delete')
        ORDER BY a.id DESC
    LOOP
        state := CASE change.action
            WHEN 'update' THEN state || change.old_values
            WHEN 'delete' THEN change.old_values
        END;
    END LOOP;
    RETURN state || jsonb_build_object('updated_at', (
        SELECT max(a.occurred_at) FROM audit_log AS a
        WHERE a.table_name = relation AND a.row_id = key AND a.id < first_since
            AND a.action IN ('insert', 'update')
    ));
END
$$;
