-- Deletes the rows of a table for which the condition, an expression of SQL, holds; returns how many. A row that cannot
-- be deleted stays, is named by a warning, by its ctid, and keeps no other one.
CREATE FUNCTION delete_rows(doomed regclass, condition text) RETURNS bigint
LANGUAGE plpgsql
SET search_path = public, pg_temp
AS $$
DECLARE
    place tid;
    deleted bigint;
BEGIN
    BEGIN
        EXECUTE format('DELETE FROM %s WHERE %s', doomed, condition);
        GET DIAGNOSTICS deleted = ROW_COUNT;
        RETURN deleted;
    EXCEPTION WHEN data_exception OR integrity_constraint_violation OR program_limit_exceeded OR plpgsql_error THEN
        deleted := 0;
    END;
    FOR place IN EXECUTE format('SELECT ctid FROM %s WHERE %s', doomed, condition) LOOP
        BEGIN
            EXECUTE format('DELETE FROM %s WHERE ctid = $1', doomed) USING place;
            deleted := deleted + 1;
        EXCEPTION WHEN data_exception OR integrity_constraint_violation OR program_limit_exceeded OR plpgsql_error THEN
            PERFORM leave_out(format('%s: left out row %s: %s', doomed, place, SQLERRM));
        END;
    END LOOP;
    RETURN deleted;
END
$$;
