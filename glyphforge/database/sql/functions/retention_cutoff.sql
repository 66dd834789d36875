-- The moment `days` times 24 hours ago: older rows are past their retention. The error names the function that asks.
CREATE FUNCTION retention_cutoff(caller text, days int) RETURNS timestamptz
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
