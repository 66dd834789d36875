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
