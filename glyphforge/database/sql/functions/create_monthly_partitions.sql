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
