-- Frozen by `manage.py database freeze`: a later migration changes what this one made.

SET LOCAL check_function_bodies = off;

--! tables/backup_runs
ALTER TABLE backup_runs ADD CONSTRAINT backup_runs_times_plausible CHECK ( least(started_at, finished_at) >= '1970-01-01 00:00:00+00' AND greatest(started_at, finished_at) < '2200-01-01 00:00:00+00' ) NOT VALID;
/* The table is now:
-- Each backup and each restore drill that ended, well or badly; a missing row is what the age check is for.
CREATE TABLE backup_runs (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    kind text NOT NULL CONSTRAINT backup_runs_kind_known CHECK (kind IN ('backup', 'drill')),
    status text NOT NULL CONSTRAINT backup_runs_status_known CHECK (status IN ('succeeded', 'failed')),
    file text NOT NULL,
    bytes bigint,
    row_count bigint,
    error text,
    started_at timestamptz NOT NULL,
    finished_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT backup_runs_error_explains_failure CHECK ((status = 'failed') = (error IS NOT NULL)),
    CONSTRAINT backup_runs_ends_after_start CHECK (finished_at >= started_at),
    CONSTRAINT backup_runs_times_plausible CHECK (
        least(started_at, finished_at) >= '1970-01-01 00:00:00+00'
        AND greatest(started_at, finished_at) < '2200-01-01 00:00:00+00'
    )
);

CREATE INDEX backup_runs_latest ON backup_runs (kind, finished_at DESC) INCLUDE (status);
*/

--! functions/delete_rows
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
            RAISE WARNING '%: left out row %: %', doomed, place, SQLERRM;
        END;
    END LOOP;
    RETURN deleted;
END
$$;
