-- Makes the partition of one month (UTC), as make_monthly_partitions() does. True when it was made, false when the
-- month had one already; an error says why it cannot be made.
CREATE FUNCTION create_monthly_partition(parent regclass, month date) RETURNS boolean
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
