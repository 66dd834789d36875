-- As fold_traffic_between(), but a request that cannot be folded keeps no other one: each half is folded on its own,
-- down to that request, which is named by a warning and never folded.
CREATE FUNCTION fold_traffic_range(after_id bigint, to_id bigint) RETURNS bigint
LANGUAGE plpgsql
SET search_path = public, pg_temp
SET work_mem = '16MB'
AS $$
DECLARE
    middle CONSTANT bigint := after_id + (to_id - after_id) / 2;
BEGIN
    RETURN fold_traffic_between(after_id, to_id);
EXCEPTION WHEN data_exception OR integrity_constraint_violation OR program_limit_exceeded OR plpgsql_error THEN
    IF to_id = after_id + 1 THEN
        PERFORM leave_out(format('fold_traffic: left out request %s: %s', to_id, SQLERRM));
        RETURN 0;
    END IF;
    RETURN fold_traffic_range(after_id, middle) + fold_traffic_range(middle, to_id);
END
$$;

REVOKE EXECUTE ON FUNCTION fold_traffic_range(bigint, bigint) FROM public;
