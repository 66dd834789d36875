-- Frozen by `manage.py database freeze`: a later migration changes what this one made.

SET LOCAL check_function_bodies = off;

ALTER TABLE backup_runs DROP CONSTRAINT backup_runs_times_plausible;
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
    CONSTRAINT backup_runs_ends_after_start CHECK (finished_at >= started_at)
);

CREATE INDEX backup_runs_latest ON backup_runs (kind, finished_at DESC) INCLUDE (status);
*/

-- Refreshes the planner's statistics of the tables that are partitioned by month, whose parents autovacuum never
-- analyses; returns how many tables. A table that somebody has locked is left for the next time.
CREATE OR REPLACE FUNCTION analyze_partitioned_tables() RETURNS int
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = public, pg_temp
AS $$
DECLARE
    parents CONSTANT regclass[] := ARRAY(
        SELECT t.partrelid::regclass
        FROM pg_partitioned_table AS t
        INNER JOIN pg_class AS c ON c.oid = t.partrelid
        WHERE c.relnamespace = 'public'::regnamespace AND partition_key(t.partrelid) IS NOT NULL
        ORDER BY c.relname
    );
    parent regclass;
BEGIN
    -- Not while partitions are made or dropped: that needs locks which this one holds to the end of the transaction.
    FOREACH parent IN ARRAY parents LOOP
        PERFORM pg_advisory_xact_lock(hashtextextended(format('%s partitions', parent), 0));
    END LOOP;
    IF parents <> '{}' THEN
        EXECUTE format('ANALYZE (SKIP_LOCKED) %s', array_to_string(parents, ', '));
    END IF;
    RETURN cardinality(parents);
END
$$;

REVOKE EXECUTE ON FUNCTION analyze_partitioned_tables() FROM public;

-- Makes the partition of one month (UTC) of a table that is partitioned by range of a timestamptz, and moves the rows
-- that waited for it in the default partition, whose storage parameters it gets. True when it was made, false when the
-- month had one already. The caller holds the locks: see create_monthly_partitions().
--
-- PostgreSQL clones the parent's row triggers to a partition, but not the statement triggers, which an insert straight
-- into the partition must fire too. Rows move before the new table has them, so that nothing is counted twice. ATTACH
-- takes a weaker lock on the parent than CREATE … PARTITION OF and does not stall readers.
CREATE OR REPLACE FUNCTION create_monthly_partition(parent regclass, month date) RETURNS boolean
LANGUAGE plpgsql
SET search_path = public, pg_temp
AS $$
#variable_conflict error
DECLARE
    parent_name CONSTANT text := (SELECT c.relname FROM pg_class AS c WHERE c.oid = parent);
    partition_name CONSTANT text := parent_name || to_char(month, '"_"YYYY"_"MM');
    key_column CONSTANT text := partition_key(parent);
    default_partition CONSTANT regclass := (SELECT nullif(t.partdefid, 0) FROM pg_partitioned_table AS t WHERE t.partrelid = parent);
    parameters CONSTANT text[] := (SELECT c.reloptions FROM pg_class AS c WHERE c.oid = default_partition);
    statement_trigger text;
    starts CONSTANT timestamptz := date_trunc('month', month::timestamp) AT TIME ZONE 'UTC';
    ends CONSTANT timestamptz := (date_trunc('month', month::timestamp) + interval '1 month') AT TIME ZONE 'UTC';
BEGIN
    IF key_column IS NULL THEN
        RAISE EXCEPTION 'create_monthly_partition: % is not partitioned by month', parent
            USING ERRCODE = 'invalid_parameter_value';
    END IF;
    IF EXISTS (SELECT 1 FROM monthly_partitions(parent) AS p WHERE p.opens <= starts AND p.closes >= ends) THEN
        RETURN false;
    END IF;
    IF to_regclass(quote_ident(partition_name)) IS NOT NULL THEN
        RAISE EXCEPTION 'create_monthly_partition: table % exists but is no partition of %', partition_name, parent
            USING ERRCODE = 'duplicate_table', HINT = 'Attach it, rename it or drop it.';
    END IF;

    EXECUTE format('CREATE TABLE %I (LIKE %I INCLUDING ALL)', partition_name, parent_name);
    IF default_partition IS NOT NULL THEN
        PERFORM set_config('app.audit_retention', 'on', true);
        EXECUTE format(
            'WITH moved AS (DELETE FROM %1$s WHERE %2$I >= %3$L AND %2$I < %4$L RETURNING *) INSERT INTO %5$I SELECT * FROM moved',
            default_partition, key_column, starts, ends, partition_name
        );
        PERFORM set_config('app.audit_retention', '', true);
    END IF;
    IF parameters IS NOT NULL THEN
        EXECUTE format('ALTER TABLE %I SET (%s)', partition_name, array_to_string(parameters, ', '));
    END IF;
    FOR statement_trigger IN
        SELECT replace(pg_get_triggerdef(t.oid, true), format(' ON %s ', parent), format(' ON %I ', partition_name))
        FROM pg_trigger AS t
        WHERE t.tgrelid = parent AND NOT t.tgisinternal AND t.tgtype & 1 = 0
    LOOP
        EXECUTE statement_trigger;
    END LOOP;
    EXECUTE format(
        'ALTER TABLE %I ATTACH PARTITION %I FOR VALUES FROM (%L) TO (%L)', parent_name, partition_name, starts, ends
    );
    RETURN true;
END
$$;

DROP FUNCTION create_monthly_partitions;

-- Partitions of a table that is partitioned by month: for this month (UTC), for `months` ahead, 0 to 120, and for every
-- month that has rows in the default partition. Returns how many of this month and the ones ahead were made. The error
-- names create_<table>_partitions(), which takes the advisory lock before it asks.
--
-- Attaching needs the default partition to itself for a moment. Writers are kept out of the parent meanwhile: one
-- that had chosen the default partition for its row would find, once let in, that the row belongs elsewhere, and fail.
CREATE FUNCTION create_monthly_partitions(parent regclass, months int) RETURNS int
LANGUAGE plpgsql
SET search_path = public, pg_temp
SET lock_timeout = '100ms'
AS $$
DECLARE
    key_column CONSTANT text := partition_key(parent);
    default_partition CONSTANT regclass := (SELECT nullif(t.partdefid, 0) FROM pg_partitioned_table AS t WHERE t.partrelid = parent);
    this_month CONSTANT date := date_trunc('month', now() AT TIME ZONE 'UTC');
    wanted date[];
    waiting boolean := false;
    stray date[] := '{}';
    month date;
    made int := 0;
BEGIN
    IF months IS NULL OR months NOT BETWEEN 0 AND 120 THEN
        RAISE EXCEPTION 'create_%_partitions: months must be between 0 and 120, not %', parent, coalesce(months::text, 'NULL')
            USING ERRCODE = 'invalid_parameter_value';
    END IF;
    wanted := ARRAY(SELECT (this_month + make_interval(months => n))::date FROM generate_series(0, months) AS n);
    IF default_partition IS NOT NULL THEN
        EXECUTE format('SELECT EXISTS (SELECT 1 FROM %s)', default_partition) INTO waiting;
    END IF;
    IF NOT waiting AND NOT EXISTS (
        SELECT 1
        FROM unnest(wanted) AS w (starts)
        WHERE NOT EXISTS (
            SELECT 1 FROM monthly_partitions(parent) AS p
            WHERE p.opens <= w.starts::timestamp AT TIME ZONE 'UTC'
                AND p.closes >= (w.starts + interval '1 month') AT TIME ZONE 'UTC'
        )
    ) THEN
        RETURN 0;
    END IF;

    PERFORM lock_for_partitions(
        parent,
        array_remove(
            ARRAY[
                'LOCK TABLE ONLY ' || parent || ' IN SHARE ROW EXCLUSIVE MODE',
                'LOCK TABLE ' || default_partition || ' IN ACCESS EXCLUSIVE MODE'
            ], NULL
        ),
        'its default partition'
    );

    IF default_partition IS NOT NULL THEN
        EXECUTE format(
            'SELECT coalesce(array_agg(DISTINCT date_trunc(''month'', %I AT TIME ZONE ''UTC'')::date), ''{}'') FROM %s',
            key_column, default_partition
        ) INTO stray;
    END IF;
    FOREACH month IN ARRAY wanted LOOP
        made := made + create_monthly_partition(parent, month)::int;
    END LOOP;
    FOREACH month IN ARRAY stray LOOP
        IF create_monthly_partition(parent, month) THEN
            RAISE NOTICE '%: made a partition for %, which had rows in the default partition', parent, to_char(month, 'YYYY-MM');
        END IF;
    END LOOP;
    RETURN made;
END
$$;

DROP FUNCTION drop_partitions_before;

-- Drops every partition of a table, partitioned by month, that lies wholly before the cutoff, by the bounds in the
-- catalogue, and finishes detaches that were left half done. Returns how many were dropped.
--
-- Detaching needs the parent to itself for a moment: all locks are taken together before anything is done.
CREATE FUNCTION drop_partitions_before(parent regclass, cutoff timestamptz) RETURNS int
LANGUAGE plpgsql
SET search_path = public, pg_temp
SET lock_timeout = '100ms'
AS $$
DECLARE
    half_detached CONSTANT regclass[] := ARRAY(
        SELECT i.inhrelid::regclass FROM pg_inherits AS i WHERE i.inhparent = parent AND i.inhdetachpending
    );
    old regclass[];
    locks text[] := '{}';
    partition regclass;
BEGIN
    SELECT coalesce(array_agg(p.partition ORDER BY p.opens), '{}') INTO old
    FROM monthly_partitions(parent) AS p
    WHERE p.closes <= cutoff;
    IF old = '{}' AND half_detached = '{}' THEN
        RETURN 0;
    END IF;

    IF old <> '{}' THEN
        locks := ARRAY[format('LOCK TABLE ONLY %s IN ACCESS EXCLUSIVE MODE', parent)] || ARRAY(
            SELECT format('LOCK TABLE %s IN ACCESS EXCLUSIVE MODE', l.relation)
            FROM (
                SELECT t.partdefid::regclass AS relation
                FROM pg_partitioned_table AS t
                WHERE t.partrelid = parent AND t.partdefid <> 0
                UNION ALL
                SELECT o.relation FROM unnest(old) AS o (relation)
            ) AS l
        );
    END IF;
    PERFORM lock_for_partitions(
        parent,
        ARRAY(
            SELECT format('ALTER TABLE %s DETACH PARTITION %s FINALIZE', parent, h.relation)
            FROM unnest(half_detached) AS h (relation)
        ) || locks,
        'it'
    );

    FOREACH partition IN ARRAY old LOOP
        EXECUTE format('ALTER TABLE %s DETACH PARTITION %s', parent, partition);
        EXECUTE format('DROP TABLE %s', partition);
    END LOOP;
    RETURN cardinality(old);
END
$$;

-- Executes statements that take the locks on a partitioned table and its partitions, all of them or none; `wanted` says
-- in the error what they lock.
--
-- A lock request that waits stalls everybody behind it, so each attempt gives up after 100 ms, releases all and lets
-- them pass; the twentieth is the last.
CREATE OR REPLACE FUNCTION lock_for_partitions(parent regclass, statements text[], wanted text) RETURNS void
LANGUAGE plpgsql
SET search_path = public, pg_temp
SET lock_timeout = '100ms'
AS $$
DECLARE
    max_attempts CONSTANT int := 20;
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
            PERFORM pg_sleep(least(0.05 * attempt, 0.5) * (0.5 + random()));
        END;
    END LOOP;
END
$$;

-- The partitions of a table that is partitioned by range of a timestamptz, with their bounds as the catalogue has
-- them; the default partition and half-detached ones are left out. An open bound is infinite.
CREATE OR REPLACE FUNCTION monthly_partitions(parent regclass)
RETURNS TABLE (partition regclass, opens timestamptz, closes timestamptz)
LANGUAGE sql
STABLE
SET search_path = public, pg_temp
SET timezone = 'UTC'
SET datestyle = 'ISO'
AS $$
    SELECT
        i.inhrelid::regclass,
        coalesce(substring(b.bounds FROM 'FROM \(''([^'']+)''\)')::timestamptz, '-infinity'),
        coalesce(substring(b.bounds FROM 'TO \(''([^'']+)''\)')::timestamptz, 'infinity')
    FROM pg_inherits AS i
    INNER JOIN pg_class AS c ON c.oid = i.inhrelid
    CROSS JOIN LATERAL pg_get_expr(c.relpartbound, c.oid) AS b (bounds)
    WHERE i.inhparent = parent AND NOT i.inhdetachpending AND b.bounds <> 'DEFAULT'
    ORDER BY 2
$$;

-- The column by whose range a table is partitioned; NULL when it is not partitioned by range of one timestamptz.
CREATE OR REPLACE FUNCTION partition_key(parent regclass) RETURNS text
LANGUAGE sql
STABLE
SET search_path = public, pg_temp
AS $$
    SELECT a.attname::text
    FROM pg_partitioned_table AS t
    INNER JOIN pg_attribute AS a ON a.attrelid = t.partrelid AND a.attnum = t.partattrs[0]
    WHERE t.partrelid = parent AND t.partstrat = 'r' AND t.partnatts = 1 AND a.atttypid = 'timestamptz'::regtype
$$;

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
    RETURN now() - least(days, 100000) * interval '24 hours';
END
$$;

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
    FOR n IN 1..cardinality(tasks) LOOP
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
        duration_ms := extract(epoch FROM clock_timestamp() - started) * 1000;
        RETURN NEXT;
    END LOOP;
END
$$;

DROP FUNCTION this_database;

DROP FUNCTION signal_session;

DROP FUNCTION partition_name;

DROP FUNCTION partition_bounds;

DROP FUNCTION missing_months;

DROP FUNCTION max_partitions;

DROP FUNCTION make_monthly_partitions;

DROP FUNCTION is_production;

DROP FUNCTION delete_rows;

DROP FUNCTION default_partition;

DROP TABLE installation;
