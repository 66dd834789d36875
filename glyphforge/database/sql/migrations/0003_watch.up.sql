-- Frozen by `manage.py database freeze`: a later migration changes what this one made.

SET LOCAL check_function_bodies = off;

--! functions/create_monthly_partitions
-- Partitions of a table that is partitioned by month: for this month (UTC), for `months` ahead, 0 to 120, and then for
-- up to `strays`, 0 to 6, of the other months that have rows in the default partition, the nearest first. Returns a
-- row for each that was made. A second caller waits. The errors of arguments name create_<table>_partitions(), which
-- calls this.
--
-- A month that cannot be made stops no other: a WARNING says of this month or one ahead why, a NOTICE of a stray one.
-- It is an error only where nothing could be made. Anybody who may write can date rows in any month, so strays are
-- bounded: fewer at a time the more partitions there are and the larger the default partition is, as ATTACH takes the
-- longer with writers kept out, and in all by max_partitions(). What is beyond stays in the default partition, where
-- it is found too.
CREATE OR REPLACE FUNCTION create_monthly_partitions(parent regclass, months int, strays int)
RETURNS TABLE (month date, ahead boolean)
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = public, pg_temp
SET quote_all_identifiers = off
SET client_min_messages = 'notice'
AS $$
#variable_conflict error
DECLARE
    key_column CONSTANT text := partition_key(parent);
    this_month CONSTANT date := date_trunc('month', now() AT TIME ZONE 'UTC')::date;
    wanted date[];
    stray date[] := '{}';
    chosen date[] := '{}';
    partitions int;
    missing int;
    room int;
    at_most int;
    waiting int := 0;
    obstructed int := 0;
    made int := 0;
    found record;
    failure text;
BEGIN
    -- Only tables of the role with whose rights this runs: another's triggers would run with them too.
    IF key_column IS NULL
        OR NOT EXISTS (
            SELECT FROM pg_class AS c WHERE c.oid = parent::oid AND pg_get_userbyid(c.relowner) = current_user
        )
    THEN
        RAISE EXCEPTION 'create_monthly_partitions: % is not partitioned by month, or not a table of %',
            coalesce(parent::text, 'NULL'), current_user
            USING ERRCODE = 'invalid_parameter_value';
    END IF;
    IF months IS NULL OR months NOT BETWEEN 0 AND 120 THEN
        RAISE EXCEPTION 'create_%_partitions: months must be between 0 and 120, not %', parent, coalesce(months::text, 'NULL')
            USING ERRCODE = 'invalid_parameter_value';
    END IF;
    IF strays IS NULL OR strays NOT BETWEEN 0 AND 6 THEN
        RAISE EXCEPTION 'create_%_partitions: strays must be between 0 and 6, not %', parent, coalesce(strays::text, 'NULL')
            USING ERRCODE = 'invalid_parameter_value';
    END IF;
    PERFORM pg_advisory_xact_lock(hashtextextended(format('%s partitions', parent), 0));

    wanted := ARRAY(
        SELECT (this_month + make_interval(months => g.n))::date FROM generate_series(0, months) AS g (n) ORDER BY g.n
    );
    IF strays > 0 AND default_partition(parent) IS NOT NULL THEN
        EXECUTE format(
            'SELECT ARRAY(SELECT m.month FROM (SELECT DISTINCT date_trunc(''month'', %I AT TIME ZONE ''UTC'')::date AS month FROM %s)'
            ' AS m WHERE m.month <> ALL ($1) ORDER BY abs(m.month - $2), m.month)',
            key_column, default_partition(parent)
        ) INTO stray USING wanted, this_month;
    END IF;
    IF cardinality(stray) > 0 THEN
        partitions := (SELECT count(*)::int FROM monthly_partitions(parent));
        missing := (SELECT count(*)::int FROM missing_months(parent, wanted));
        room := max_partitions(parent) - partitions - missing;
        at_most := least(
            strays, room,
            greatest(1, 300 / greatest(partitions, 1)),
            greatest(1 - missing, (16777216 / greatest(pg_relation_size(default_partition(parent)), 1))::int, 0)
        );
        FOR found IN SELECT m.month, m.obstacle FROM missing_months(parent, stray) AS m LOOP
            IF found.obstacle IS NULL AND cardinality(chosen) < at_most THEN
                chosen := array_append(chosen, found.month);
            ELSIF found.obstacle IS NULL THEN
                waiting := waiting + 1;
            ELSIF obstructed < 12 THEN
                obstructed := obstructed + 1;
                RAISE NOTICE '%: the rows of % stay in the default partition: %',
                    parent, to_char(found.month::timestamp, 'YYYY-MM'), found.obstacle;
            END IF;
        END LOOP;
        IF waiting > 0 AND room <= cardinality(chosen) THEN
            RAISE NOTICE '%: the rows of % other months stay in the default partition, as there are % partitions',
                parent, waiting, partitions
                USING HINT = 'Delete or correct rows dated wrongly, or raise max_locks_per_transaction.';
        ELSIF waiting > 0 THEN
            RAISE INFO '%: the rows of % other months wait in the default partition: call again', parent, waiting;
        END IF;
    END IF;

    BEGIN
        FOR found IN
            SELECT m.month, m.problem FROM make_monthly_partitions(parent, array_cat(wanted, chosen)) AS m
        LOOP
            IF found.problem IS NULL THEN
                made := made + 1;
                RETURN QUERY SELECT found.month, found.month = ANY (wanted);
            ELSIF found.month = ANY (wanted) THEN
                failure := format(
                    '%s: left out the partition of %s: %s', parent, to_char(found.month::timestamp, 'YYYY-MM'), found.problem
                );
                PERFORM leave_out(failure);
            ELSE
                RAISE NOTICE '%: the rows of % stay in the default partition: %',
                    parent, to_char(found.month::timestamp, 'YYYY-MM'), found.problem;
            END IF;
        END LOOP;
    EXCEPTION WHEN lock_not_available THEN
        IF EXISTS (SELECT FROM missing_months(parent, wanted) AS m WHERE m.obstacle IS NULL) THEN
            RAISE;
        END IF;
        RAISE NOTICE '%; the rows of % months wait in the default partition', SQLERRM, cardinality(chosen);
    END;
    IF made = 0 AND failure IS NOT NULL THEN
        RAISE EXCEPTION '%', failure USING ERRCODE = 'object_not_in_prerequisite_state';
    END IF;
END
$$;

REVOKE EXECUTE ON FUNCTION create_monthly_partitions(regclass, int, int) FROM public;

--! functions/delete_rows
-- Deletes the rows of a table for which the condition, an expression of SQL, holds; returns how many. A row that cannot
-- be deleted stays, is named by a warning, by its ctid, and keeps no other one.
CREATE OR REPLACE FUNCTION delete_rows(doomed regclass, condition text) RETURNS bigint
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

--! functions/drop_partitions_before
-- Drops the partitions of a table, partitioned by month, that lie wholly before the cutoff, by the bounds in the
-- catalogue, the oldest first and up to 24 at a time, as readers and writers wait meanwhile. Finishes a detach that
-- was left half done, and drops what it detached when that is as old. Returns the names of the dropped ones. One that
-- cannot be dropped stops no other: a WARNING says why, and it is an error only where none could be. The caller keeps
-- others out by an advisory lock.
--
-- Dropping a partition needs parent and default partition to itself for a moment: both locks are taken before anything
-- is done, and a partition that somebody else has locked is left for the next time.
CREATE OR REPLACE FUNCTION drop_partitions_before(parent regclass, cutoff timestamptz) RETURNS text[]
LANGUAGE plpgsql
SET search_path = public, pg_temp
SET lock_timeout = '10ms'
SET client_min_messages = 'warning'
SET quote_all_identifiers = off
AS $$
#variable_conflict error
DECLARE
    strays CONSTANT regclass := default_partition(parent);
    old CONSTANT text[] := ARRAY(
        SELECT p.partition::text FROM monthly_partitions(parent) AS p WHERE p.closes <= cutoff ORDER BY p.opens LIMIT 24
    );
    half_detached CONSTANT regclass := (
        SELECT i.inhrelid::regclass FROM pg_inherits AS i WHERE i.inhparent = parent::oid AND i.inhdetachpending
    );
    dropped text[] := '{}';
    partition text;
    closes timestamptz;
    detail text;
    failure text;
BEGIN
    IF partition_key(parent) IS NULL OR cutoff IS NULL THEN
        RAISE EXCEPTION 'drop_partitions_before: needs a table that is partitioned by month and a cutoff, not % and %',
            coalesce(parent::text, 'NULL'), coalesce(cutoff::text, 'NULL')
            USING ERRCODE = 'invalid_parameter_value';
    END IF;

    IF half_detached IS NOT NULL THEN
        BEGIN
            -- The bounds are gone afterwards.
            closes := (SELECT b.closes FROM partition_bounds(half_detached) AS b);
            PERFORM lock_for_partitions(
                parent,
                ARRAY[format('ALTER TABLE %s DETACH PARTITION %s FINALIZE', parent, half_detached)],
                half_detached::text
            );
            IF closes <= cutoff THEN
                partition := half_detached;
                EXECUTE format('DROP TABLE %s', partition);
                dropped := array_append(dropped, partition);
            END IF;
        EXCEPTION WHEN OTHERS THEN
            failure := format('%s: left out the half-detached %s: %s', parent, half_detached, SQLERRM);
            PERFORM leave_out(failure);
        END;
    END IF;

    IF cardinality(old) > 0 THEN
        PERFORM lock_for_partitions(
            parent,
            array_remove(
                ARRAY[
                    format('LOCK TABLE ONLY %s IN ACCESS EXCLUSIVE MODE', parent),
                    CASE WHEN strays IS NOT NULL THEN format('LOCK TABLE %s IN ACCESS EXCLUSIVE MODE', strays) END
                ], NULL
            ),
            'it'
        );
        FOREACH partition IN ARRAY old LOOP
            BEGIN
                EXECUTE format('DROP TABLE %s', partition);
                dropped := array_append(dropped, partition);
            EXCEPTION WHEN OTHERS THEN
                GET STACKED DIAGNOSTICS detail := PG_EXCEPTION_DETAIL;
                failure := format('%s: left out %s: %s', parent, partition, concat_ws(': ', SQLERRM, nullif(detail, '')));
                PERFORM leave_out(failure);
            END;
        END LOOP;
    END IF;
    IF cardinality(dropped) = 0 AND failure IS NOT NULL THEN
        RAISE EXCEPTION '%', failure USING ERRCODE = 'object_not_in_prerequisite_state';
    END IF;
    RETURN dropped;
END
$$;

REVOKE EXECUTE ON FUNCTION drop_partitions_before(regclass, timestamptz) FROM public;

--! functions/leave_out
-- Says by a WARNING what a loop leaves out, and keeps it until the end of the transaction in app.left_out, a line each
-- of the first 21, as run_maintenance_tasks() cannot hear a warning.
CREATE FUNCTION leave_out(what text) RETURNS void
LANGUAGE plpgsql
SET search_path = public, pg_temp
AS $$
DECLARE
    known CONSTANT text[] := string_to_array(nullif(current_setting('app.left_out', true), ''), E'\n');
BEGIN
    RAISE WARNING '%', what;
    IF coalesce(cardinality(known), 0) <= 20 THEN
        PERFORM set_config(
            'app.left_out', array_to_string(array_append(known, left(translate(what, E'\r\n', '  '), 500)), E'\n'), true
        );
    END IF;
END
$$;

--! functions/run_maintenance_tasks
-- Runs each statement, which returns one number, under its own savepoint and reports it: a failing task neither stops
-- nor undoes the others. One that leaves something out has failed too, which its error names, and what it did stays. A
-- statement timeout or a cancellation still ends them all.
CREATE OR REPLACE FUNCTION run_maintenance_tasks(tasks text[], statements text[])
RETURNS TABLE (task text, status text, rows_affected bigint, duration_ms int, error text)
LANGUAGE plpgsql
SET search_path = public, pg_temp
AS $$
DECLARE
    started timestamptz;
    left_out text[];
BEGIN
    FOR n IN 1..coalesce(cardinality(tasks), 0) LOOP
        task := tasks[n];
        started := clock_timestamp();
        BEGIN
            PERFORM set_config('app.left_out', '', true);
            EXECUTE statements[n] INTO rows_affected;
            left_out := string_to_array(nullif(current_setting('app.left_out'), ''), E'\n');
            status := 'succeeded';
            error := NULL;
            IF left_out IS NOT NULL THEN
                status := 'failed';
                error := format(
                    '%s left out: %s',
                    CASE WHEN cardinality(left_out) > 20 THEN 'more than 20' ELSE cardinality(left_out)::text END,
                    array_to_string(left_out[:20], '; ')
                );
            END IF;
        EXCEPTION WHEN OTHERS THEN
            status := 'failed';
            rows_affected := NULL;
            error := SQLERRM;
        END;
        duration_ms := extract(epoch FROM clock_timestamp() - started) * 1000::numeric;
        RETURN NEXT;
    END LOOP;
END
$$;
