-- Our partitions, constraints and indexes; nothing is counted.
DO $$
DECLARE
    relation regclass;
BEGIN
    FOR relation IN SELECT t.relid FROM pg_partition_tree('api_usage') AS t LOOP
        EXECUTE format('DROP TRIGGER count_usage ON %s', relation);
    END LOOP;
END
$$;
