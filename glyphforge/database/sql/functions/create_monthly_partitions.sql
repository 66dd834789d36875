-- Partitions of api_usage or audit_log for this month (UTC), for that many ahead, and for every month that has rows in
-- the default partition. Returns how many of this month and the ones ahead were made.
--
-- Attaching needs the default partition to itself for a moment. Writers are kept out of the parent meanwhile: one
-- that had chosen the default partition for its row would find, once let in, that the row belongs elsewhere, and fail.
-- A lock request that waits stalls everybody behind it, so each attempt gives up after 100 ms and lets them pass.
CREATE FUNCTION create_monthly_partitions(parent regclass, months int) RETURNS int
LANGUAGE plpgsql
SET search_path = public, pg_temp
SET lock_timeout = '100ms'
AS $$
DECLARE
    max_attempts CONSTANT int := 20;
    attempt int := 0;
    key_column CONSTANT text := CASE parent WHEN 'api_usage'::regclass THEN 'created_at' ELSE 'occurred_at' END;
    default_partition CONSTANT regclass := (SELECT nullif(t.partdefid, 0) FROM pg_partitioned_table AS t WHERE t.partrelid = parent);
    this_month CONSTANT date := date_trunc('month', now() AT TIME ZONE 'UTC');
    wanted CONSTANT date[] := ARRAY(
        SELECT (this_month + make_interval(months => n))::date FROM generate_series(0, months) AS n
    );
    waiting boolean := false;
    stray date[] := '{}';
    month date;
    made int := 0;
BEGIN
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

    LOOP
        BEGIN
            EXECUTE format('LOCK TABLE ONLY %s IN SHARE ROW EXCLUSIVE MODE', parent);
            IF default_partition IS NOT NULL THEN
                EXECUTE format('LOCK TABLE %s IN ACCESS EXCLUSIVE MODE', default_partition);
            END IF;
            EXIT;
        EXCEPTION WHEN lock_not_available THEN
            attempt := attempt + 1;
            IF attempt = max_attempts THEN
                RAISE EXCEPTION '%: gave up after % attempts to lock its default partition', parent, attempt
                    USING ERRCODE = 'lock_not_available', HINT = 'A long transaction reads or writes it; try again later.';
            END IF;
            PERFORM pg_sleep(least(0.05 * attempt, 0.5) * (0.5 + random()));
        END;
    END LOOP;

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
