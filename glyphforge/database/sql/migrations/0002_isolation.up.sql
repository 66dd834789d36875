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

--! tables/installation
-- Which database was told to be production, in its one row. A backup takes the row along: where it is found in another
-- database than it names, that one is a copy.
CREATE TABLE installation (
    only_row boolean PRIMARY KEY DEFAULT true CONSTRAINT installation_one_row CHECK (only_row),
    system_identifier bigint NOT NULL,
    table_oid bigint NOT NULL,
    database_name text NOT NULL,
    adopted_at timestamptz NOT NULL DEFAULT now(),
    adopted_by text NOT NULL,
    CONSTRAINT installation_times_plausible CHECK (
        adopted_at >= '1970-01-01 00:00:00+00' AND adopted_at < '2200-01-01 00:00:00+00'
    )
);

--! functions/analyze_partitioned_tables
-- Refreshes the planner's statistics of the tables that are partitioned by month, whose parents autovacuum never
-- analyses; returns how many tables. A table that somebody has locked is left for the next time.
CREATE OR REPLACE FUNCTION analyze_partitioned_tables() RETURNS int
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = public, pg_temp
SET quote_all_identifiers = off
SET client_min_messages = 'error'
AS $$
DECLARE
    parents CONSTANT regclass[] := ARRAY(
        SELECT t.partrelid::regclass
        FROM pg_partitioned_table AS t
        INNER JOIN pg_class AS c ON c.oid = t.partrelid
        WHERE c.relnamespace = 'public'::regnamespace::oid AND partition_key(t.partrelid::regclass) IS NOT NULL
        ORDER BY c.relname
    );
    parent regclass;
BEGIN
    -- Not while partitions are made or dropped: that needs locks which this one holds to the end of the transaction.
    FOREACH parent IN ARRAY parents LOOP
        PERFORM pg_advisory_xact_lock(hashtextextended(format('%s partitions', parent), 0));
    END LOOP;
    IF cardinality(parents) > 0 THEN
        EXECUTE format('ANALYZE (SKIP_LOCKED) %s', array_to_string(parents, ', '));
    END IF;
    RETURN cardinality(parents);
END
$$;

REVOKE EXECUTE ON FUNCTION analyze_partitioned_tables() FROM public;

--! functions/create_monthly_partition
-- Makes the partition of one month (UTC), as make_monthly_partitions() does. True when it was made, false when the
-- month had one already; an error says why it cannot be made.
CREATE OR REPLACE FUNCTION create_monthly_partition(parent regclass, month date) RETURNS boolean
LANGUAGE plpgsql
SET search_path = public, pg_temp
AS $$
#variable_conflict error
DECLARE
    made record;
BEGIN
    IF month IS NULL THEN
        RAISE EXCEPTION 'create_monthly_partition: month is NULL' USING ERRCODE = 'invalid_parameter_value';
    END IF;
    SELECT m.problem INTO made FROM make_monthly_partitions(parent, ARRAY[create_monthly_partition.month]) AS m;
    IF made.problem IS NOT NULL THEN
        RAISE EXCEPTION 'create_monthly_partition: %: %', partition_name(parent, create_monthly_partition.month), made.problem
            USING ERRCODE = 'object_not_in_prerequisite_state';
    END IF;
    RETURN FOUND;
END
$$;

REVOKE EXECUTE ON FUNCTION create_monthly_partition(regclass, date) FROM public;

--! functions/create_monthly_partitions
DROP FUNCTION create_monthly_partitions;

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
CREATE FUNCTION create_monthly_partitions(parent regclass, months int, strays int)
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
                RAISE WARNING '%', failure;
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

--! functions/default_partition
-- The default partition of a table, which catches rows of no other; NULL where there is none.
CREATE FUNCTION default_partition(parent regclass) RETURNS regclass
LANGUAGE sql
STABLE
SET search_path = public, pg_temp
AS $$
    SELECT t.partdefid::regclass
    FROM pg_partitioned_table AS t
    WHERE t.partrelid = parent::oid AND t.partdefid <> 0::oid
$$;

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

--! functions/drop_partitions_before
DROP FUNCTION drop_partitions_before;

-- Drops the partitions of a table, partitioned by month, that lie wholly before the cutoff, by the bounds in the
-- catalogue, the oldest first and up to 24 at a time, as readers and writers wait meanwhile. Finishes a detach that
-- was left half done, and drops what it detached when that is as old. Returns the names of the dropped ones. One that
-- cannot be dropped stops no other: a WARNING says why, and it is an error only where none could be. The caller keeps
-- others out by an advisory lock.
--
-- Dropping a partition needs parent and default partition to itself for a moment: both locks are taken before anything
-- is done, and a partition that somebody else has locked is left for the next time.
CREATE FUNCTION drop_partitions_before(parent regclass, cutoff timestamptz) RETURNS text[]
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
            RAISE WARNING '%', failure;
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
                RAISE WARNING '%', failure;
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

--! functions/is_production
-- Whether this is the database that was told to be production, and no copy of it. A copy runs no schedules and sends
-- nothing. Every page asks: whoever locks the table is not waited for.
CREATE FUNCTION is_production() RETURNS boolean
LANGUAGE sql
STABLE
SET search_path = public, pg_temp
SET lock_timeout = '500ms'
AS $$
    SELECT EXISTS (
        SELECT FROM installation
        JOIN this_database() USING (system_identifier, table_oid)
    )
$$;

--! functions/lock_for_partitions
-- Executes statements that take the locks on a partitioned table and its partitions, all of them or none; `wanted` says
-- in the error what they lock.
--
-- A lock request that waits stalls everybody behind it, so each attempt gives up after 40 ms, releases all and lets
-- them pass; the twenty-fifth is the last.
CREATE OR REPLACE FUNCTION lock_for_partitions(parent regclass, statements text[], wanted text) RETURNS void
LANGUAGE plpgsql
SET search_path = public, pg_temp
SET lock_timeout = '40ms'
AS $$
DECLARE
    max_attempts CONSTANT int := 25;
    statement text;
BEGIN
    FOR attempt IN 1..max_attempts LOOP
        BEGIN
            FOREACH statement IN ARRAY statements LOOP
                EXECUTE statement;
            END LOOP;
            RETURN;
        EXCEPTION WHEN lock_not_available THEN
            IF attempt = max_attempts THEN
                RAISE EXCEPTION '%: gave up after % attempts to lock %', parent, attempt, wanted
                    USING ERRCODE = 'lock_not_available', HINT = 'A long transaction reads or writes it; try again later.';
            END IF;
            PERFORM pg_sleep(least(0.05 * attempt, 0.4)::float8 * (0.5::float8 + random()));
        END;
    END LOOP;
END
$$;

REVOKE EXECUTE ON FUNCTION lock_for_partitions(regclass, text[], text) FROM public;

--! functions/make_monthly_partitions
-- Makes the partitions of months (UTC) of a table that is partitioned by month, moves the rows that wait for them in
-- the default partition, and returns a row for each that was made or could not be: `problem` says why, NULL when it
-- was made. A month that has its partition is left out. One that cannot be made stops no other; where the locks cannot
-- be had, nothing is made and the error says so. The caller keeps others out by an advisory lock.
--
-- Readers and writers are to wait as little as possible. So each table is made and filled beside the parent. Then come
-- the locks, the rows that arrived meanwhile, and ATTACH, which takes a weaker lock on the parent than CREATE …
-- PARTITION OF but needs the default partition to itself. Writers are kept out of the parent: one that had chosen the
-- default partition for its row would find, once let in, that the row belongs elsewhere, and fail. What fails undoes
-- all, which frees the locks, and the others are made without it.
CREATE FUNCTION make_monthly_partitions(parent regclass, wanted date[]) RETURNS TABLE (month date, problem text)
LANGUAGE plpgsql
SET search_path = public, pg_temp
SET timezone = 'UTC'
SET datestyle = 'ISO'
SET standard_conforming_strings = on
SET quote_all_identifiers = off
SET default_tablespace = ''
SET default_table_access_method = 'heap'
AS $$
#variable_conflict error
DECLARE
    key_column CONSTANT text := partition_key(parent);
    strays CONSTANT regclass := default_partition(parent);
    parameters CONSTANT text := (SELECT array_to_string(c.reloptions, ', ') FROM pg_class AS c WHERE c.oid = strays::oid);
    found record;
    todo date[] := '{}';
    doing date;
    last_failed date;
    partition text;
    opens timestamptz;
    closes timestamptz;
    move text;
    attach text;
    statement text;
BEGIN
    IF key_column IS NULL THEN
        RAISE EXCEPTION 'make_monthly_partitions: % is not partitioned by month', coalesce(parent::text, 'NULL')
            USING ERRCODE = 'invalid_parameter_value';
    END IF;
    IF EXISTS (SELECT FROM unnest(wanted) AS w (day) WHERE w.day NOT BETWEEN '0001-01-01' AND '9999-12-31') THEN
        RAISE EXCEPTION 'make_monthly_partitions: months must be of the years 1 to 9999, not %', wanted
            USING ERRCODE = 'invalid_parameter_value';
    END IF;
    move := format(
        'WITH moved AS (DELETE FROM %s WHERE %I >= $1 AND %2$I < $2 RETURNING *) INSERT INTO %%I SELECT * FROM moved',
        strays, key_column
    );
    FOR found IN SELECT m.month, m.obstacle FROM missing_months(parent, wanted) AS m LOOP
        IF found.obstacle IS NULL THEN
            todo := array_append(todo, found.month);
        ELSE
            RETURN QUERY SELECT found.month, found.obstacle;
        END IF;
    END LOOP;

    WHILE cardinality(todo) > 0 LOOP
        BEGIN
            PERFORM set_config('app.audit_retention', 'on', true);
            FOREACH doing IN ARRAY todo LOOP
                partition := partition_name(parent, doing);
                opens := doing::timestamp AT TIME ZONE 'UTC';
                closes := (doing::timestamp + interval '1 month') AT TIME ZONE 'UTC';
                -- With the CHECK, ATTACH need not read the rows.
                EXECUTE format(
                    'CREATE TABLE %I (LIKE %s INCLUDING ALL, CONSTRAINT its_month CHECK (%I >= %L AND %3$I < %5$L))',
                    partition, parent, key_column, opens, closes
                );
                -- What the owner's default privileges granted: a partition is reached through its parent.
                FOR statement IN
                    SELECT DISTINCT format(
                        'REVOKE ALL ON %I FROM %s CASCADE', partition,
                        CASE WHEN a.grantee = 0::oid THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(a.grantee)) END
                    )
                    FROM pg_class AS c
                    CROSS JOIN aclexplode(c.relacl) AS a
                    WHERE c.oid = to_regclass(quote_ident(partition))::oid AND a.grantee <> c.relowner
                LOOP
                    EXECUTE statement;
                END LOOP;
                IF strays IS NOT NULL THEN
                    EXECUTE format(move, partition) USING opens, closes;
                END IF;
                IF parameters IS NOT NULL THEN
                    EXECUTE format('ALTER TABLE %I SET (%s)', partition, parameters);
                END IF;
            END LOOP;

            doing := NULL;
            PERFORM lock_for_partitions(
                parent,
                array_remove(
                    ARRAY[
                        format('LOCK TABLE ONLY %s IN SHARE ROW EXCLUSIVE MODE', parent),
                        CASE WHEN strays IS NOT NULL THEN format('LOCK TABLE %s IN ACCESS EXCLUSIVE MODE', strays) END
                    ], NULL
                ),
                'its default partition'
            );
            FOREACH doing IN ARRAY todo LOOP
                partition := partition_name(parent, doing);
                opens := doing::timestamp AT TIME ZONE 'UTC';
                closes := (doing::timestamp + interval '1 month') AT TIME ZONE 'UTC';
                attach := format(
                    'ALTER TABLE %s ATTACH PARTITION %I FOR VALUES FROM (%L) TO (%L)', parent, partition, opens, closes
                );
                BEGIN
                    EXECUTE attach;
                EXCEPTION WHEN check_violation THEN
                    -- Rows that arrived since.
                    EXECUTE format(move, partition) USING opens, closes;
                    EXECUTE attach;
                END;
                EXECUTE format('ALTER TABLE %I DROP CONSTRAINT its_month', partition);
                -- PostgreSQL clones the parent's row triggers, but not the statement triggers, which an insert straight
                -- into the partition must fire too. The rows have moved by now, so that nothing is counted twice.
                FOR statement IN
                    SELECT replace(
                        pg_get_triggerdef(t.oid, true), format(' ON %s ', parent), format(' ON %I ', partition)
                    )
                    FROM pg_trigger AS t
                    WHERE t.tgrelid = parent::oid AND NOT t.tgisinternal AND t.tgtype::int & 1 = 0
                LOOP
                    EXECUTE statement;
                END LOOP;
            END LOOP;
            PERFORM set_config('app.audit_retention', '', true);
            RETURN QUERY SELECT t.made, NULL::text FROM unnest(todo) AS t (made);
            RETURN;
        EXCEPTION WHEN OTHERS THEN
            IF doing IS NULL THEN
                RAISE;
            END IF;
            -- Where memory or space ran out, the months behind it would find none either.
            last_failed := CASE WHEN left(SQLSTATE, 2) = '53' THEN todo[cardinality(todo)] ELSE doing END;
            RETURN QUERY
            SELECT t.left_out, SQLERRM
            FROM unnest(todo) WITH ORDINALITY AS t (left_out, n)
            WHERE t.n BETWEEN array_position(todo, doing) AND array_position(todo, last_failed);
            todo := ARRAY(
                SELECT t.kept
                FROM unnest(todo) WITH ORDINALITY AS t (kept, n)
                WHERE t.n NOT BETWEEN array_position(todo, doing) AND array_position(todo, last_failed)
                ORDER BY t.n
            );
        END;
    END LOOP;
END
$$;

REVOKE EXECUTE ON FUNCTION make_monthly_partitions(regclass, date[]) FROM public;

--! functions/max_partitions
-- Up to how many partitions a table gets for stray months. A query that reads all of them locks each with its indexes:
-- more than a quarter of the server's lock table (https://www.postgresql.org/docs/current/runtime-config-locks.html) is
-- too much for one, as beyond the whole all fail with "out of shared memory", the fold and the backup among them. And
-- more than twenty years of them make the first insert of a session, which reads them all, slow.
CREATE FUNCTION max_partitions(parent regclass) RETURNS int
LANGUAGE sql
STABLE
SET search_path = public, pg_temp
AS $$
    SELECT least(
        240,
        current_setting('max_locks_per_transaction')::int * current_setting('max_connections')::int / 4
        / (1 + (SELECT count(*)::int FROM pg_index AS i WHERE i.indrelid = parent::oid))
    )
$$;

--! functions/missing_months
-- Of the months wanted (any of their days, UTC) those without a partition, as their first days and in the order given;
-- `obstacle` says what is in the way of making it and what to do, NULL when nothing is.
CREATE FUNCTION missing_months(parent regclass, wanted date[]) RETURNS TABLE (month date, obstacle text)
LANGUAGE sql
STABLE
SET search_path = public, pg_temp
SET timezone = 'UTC'
SET datestyle = 'ISO'
SET quote_all_identifiers = off
AS $$
    WITH existing AS MATERIALIZED (
        SELECT p.partition, p.opens, p.closes FROM monthly_partitions(parent) AS p
    ),
    months AS (
        SELECT
            date_trunc('month', w.day::timestamp)::date AS month,
            date_trunc('month', w.day::timestamp) AT TIME ZONE 'UTC' AS opens,
            (date_trunc('month', w.day::timestamp) + interval '1 month') AT TIME ZONE 'UTC' AS closes,
            min(w.n) AS n
        FROM unnest(wanted) WITH ORDINALITY AS w (day, n)
        WHERE w.day IS NOT NULL
        GROUP BY 1, 2, 3
    )
    SELECT
        m.month,
        CASE
            WHEN o.partition IS NOT NULL THEN format(
                'partition %s holds a part of it, from %s to %s: detach it, and rename or drop it',
                o.partition, o.opens, o.closes
            )
            WHEN i.inhdetachpending THEN format(
                'partition %1$s is half detached: ALTER TABLE %2$s DETACH PARTITION %1$s FINALIZE, then rename or drop it',
                r.oid::regclass, parent
            )
            WHEN r.oid IS NOT NULL THEN format(
                'table %s exists but is no partition of %s: rename it, or drop it when nobody needs it',
                r.oid::regclass, parent
            )
        END
    FROM months AS m
    LEFT JOIN LATERAL (
        SELECT e.partition, e.opens, e.closes
        FROM existing AS e
        WHERE e.opens < m.closes AND e.closes > m.opens
        ORDER BY e.opens
        LIMIT 1
    ) AS o ON true
    LEFT JOIN pg_class AS r ON r.oid = to_regclass(quote_ident(partition_name(parent, m.month)))::oid
    LEFT JOIN pg_inherits AS i ON i.inhrelid = r.oid AND i.inhparent = parent::oid
    WHERE o.partition IS NULL OR o.opens > m.opens OR o.closes < m.closes
    ORDER BY m.n
$$;

--! functions/monthly_partitions
-- The partitions of a table that is partitioned by range of a timestamptz, with their bounds, oldest first; the default
-- partition and half-detached ones are left out.
CREATE OR REPLACE FUNCTION monthly_partitions(parent regclass)
RETURNS TABLE (partition regclass, opens timestamptz, closes timestamptz)
LANGUAGE sql
STABLE
SET search_path = public, pg_temp
AS $$
    SELECT i.inhrelid::regclass, b.opens, b.closes
    FROM pg_inherits AS i
    CROSS JOIN LATERAL partition_bounds(i.inhrelid::regclass) AS b
    WHERE i.inhparent = parent::oid AND NOT i.inhdetachpending
    ORDER BY b.opens
$$;

--! functions/partition_bounds
-- From when (inclusive) to when (exclusive) a partition by range of a timestamptz holds rows, as the catalogue has it;
-- an open bound is infinite. No row for the default partition and for what is no partition.
CREATE FUNCTION partition_bounds(partition regclass) RETURNS TABLE (opens timestamptz, closes timestamptz)
LANGUAGE sql
STABLE
SET search_path = public, pg_temp
SET timezone = 'UTC'
SET datestyle = 'ISO'
SET standard_conforming_strings = on
AS $$
    SELECT
        coalesce(substring(b.bounds FROM 'FROM [(]''([^'']+)''[)]')::timestamptz, '-infinity'::timestamptz),
        coalesce(substring(b.bounds FROM 'TO [(]''([^'']+)''[)]')::timestamptz, 'infinity'::timestamptz)
    FROM pg_class AS c
    CROSS JOIN LATERAL pg_get_expr(c.relpartbound, c.oid) AS b (bounds)
    WHERE c.oid = partition::oid AND b.bounds <> 'DEFAULT'
$$;

--! functions/partition_key
-- The column by whose range a table is partitioned; NULL when it is not partitioned by range of one timestamptz.
CREATE OR REPLACE FUNCTION partition_key(parent regclass) RETURNS text
LANGUAGE sql
STABLE
SET search_path = public, pg_temp
AS $$
    SELECT a.attname::text
    FROM pg_partitioned_table AS t
    INNER JOIN pg_attribute AS a ON a.attrelid = t.partrelid AND a.attnum = t.partattrs[0]
    WHERE t.partrelid = parent::oid
        AND t.partstrat = 'r' AND t.partnatts = 1 AND a.atttypid = 'timestamptz'::regtype::oid
$$;

--! functions/partition_name
-- What the partition of a month is called, as api_usage_2026_11.
CREATE FUNCTION partition_name(parent regclass, month date) RETURNS text
LANGUAGE sql
STABLE
SET search_path = public, pg_temp
AS $$
    SELECT format('%s_%s', c.relname, to_char(month::timestamp, 'YYYY"_"MM')) FROM pg_class AS c WHERE c.oid = parent::oid
$$;

--! functions/retention_cutoff
-- The moment `days` times 24 hours ago: older rows are past their retention. The error names the function that asks.
CREATE OR REPLACE FUNCTION retention_cutoff(caller text, days int) RETURNS timestamptz
LANGUAGE plpgsql
STABLE
SET search_path = public, pg_temp
AS $$
BEGIN
    IF days IS NULL OR days < 1 THEN
        RAISE EXCEPTION '%: days must be at least 1, not %', caller, coalesce(days::text, 'NULL')
            USING ERRCODE = 'invalid_parameter_value';
    END IF;
    -- No date lies millions of days back.
    RETURN now() - make_interval(hours => 24 * least(days, 100000));
END
$$;

--! functions/run_maintenance_tasks
-- Runs each statement, which returns one number, under its own savepoint and reports it: a failing task neither stops
-- nor undoes the others. A statement timeout or a cancellation still ends them all.
CREATE OR REPLACE FUNCTION run_maintenance_tasks(tasks text[], statements text[])
RETURNS TABLE (task text, status text, rows_affected bigint, duration_ms int, error text)
LANGUAGE plpgsql
SET search_path = public, pg_temp
AS $$
DECLARE
    started timestamptz;
BEGIN
    FOR n IN 1..coalesce(cardinality(tasks), 0) LOOP
        task := tasks[n];
        started := clock_timestamp();
        BEGIN
            EXECUTE statements[n] INTO rows_affected;
            status := 'succeeded';
            error := NULL;
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

--! functions/signal_session
-- Cancels the statement of a session (`cancel`) or ends it (`terminate`); false when it is gone. Its id is that of log
-- lines (%c): in hexadecimal when it began, which may be left out, a point, and its process. Of this database only,
-- never the own one. The application's role may not signal others, the owner may where it has pg_signal_backend; of
-- superusers' sessions neither: https://www.postgresql.org/docs/current/functions-admin.html
CREATE FUNCTION signal_session(session text, signal text) RETURNS boolean
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = public, pg_temp
AS $$
DECLARE
    process int;
BEGIN
    SELECT a.pid INTO process
    FROM pg_stat_activity AS a
    WHERE
        a.datname = current_database()
        AND coalesce(a.backend_type, 'client backend') = 'client backend'
        AND a.pid <> pg_backend_pid()
        AND split_part('.' || session, '.', -1) = to_hex(a.pid)
        -- Either side may not see when it began.
        AND (
            session NOT LIKE '%.%' OR a.backend_start IS NULL
            OR split_part(session, '.', 1) = to_hex(extract(EPOCH FROM a.backend_start)::bigint)
        );
    IF process IS NULL THEN
        RETURN false;
    END IF;
    CASE signal
        WHEN 'cancel' THEN RETURN pg_cancel_backend(process);
        WHEN 'terminate' THEN RETURN pg_terminate_backend(process);
        ELSE RAISE EXCEPTION 'signal_session: signal must be cancel or terminate, not %', coalesce(signal, 'NULL')
            USING ERRCODE = 'invalid_parameter_value';
    END CASE;
END
$$;

REVOKE EXECUTE ON FUNCTION signal_session(text, text) FROM public;

--! functions/this_database
-- What tells this database from every other that was not copied by its files: its server's identifier, which a standby
-- shares and a new server does not (https://www.postgresql.org/docs/current/functions-info.html), and the number that
-- the table got when it was made here. The name is for readers.
CREATE FUNCTION this_database()
RETURNS TABLE (system_identifier bigint, table_oid bigint, database_name text)
LANGUAGE sql
STABLE
SET search_path = public, pg_temp
AS $$
    SELECT server.system_identifier, 'installation'::regclass::oid::bigint, current_database()::text
    FROM pg_control_system() AS server
$$;
