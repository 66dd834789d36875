-- Makes the monthly partitions of api_usage for this month (UTC) and `months` ahead, 0 to 120, and moves the rows of
-- the default partition into partitions of their own. Returns how many of those months were missing; a second caller
-- waits.
CREATE FUNCTION create_api_usage_partitions(months int DEFAULT 3) RETURNS int
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = public, pg_temp
AS $$
BEGIN
    PERFORM pg_advisory_xact_lock(hashtextextended('api_usage partitions', 0));
    RETURN create_monthly_partitions('api_usage', months);
END
$$;

REVOKE EXECUTE ON FUNCTION create_api_usage_partitions(int) FROM public;
