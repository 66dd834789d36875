-- Makes the monthly partitions of audit_log for this month (UTC) and `months` ahead, 0 to 120, and moves rows of the
-- default partition into partitions of their own, up to six months at a call. Returns how many of this month and the
-- ones ahead were made; create_monthly_partitions() says how, and what becomes of a month that cannot be made.
CREATE FUNCTION create_audit_log_partitions(months int DEFAULT 3) RETURNS int
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = public, pg_temp
AS $$
#variable_conflict error
BEGIN
    RETURN (SELECT count(*)::int FROM create_monthly_partitions('audit_log'::regclass, months, 6) AS m WHERE m.ahead);
END
$$;

REVOKE EXECUTE ON FUNCTION create_audit_log_partitions(int) FROM public;
