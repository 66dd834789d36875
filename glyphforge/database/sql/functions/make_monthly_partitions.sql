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
