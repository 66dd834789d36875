-- Erases what the audit log says of a customer; returns how many rows changed. Only for whom another person approved
-- that; what is erased is decided here, by erased_audit_rows(), and not by who calls. Every row keeps its seal.
CREATE FUNCTION erase_audit_of(customer uuid) RETURNS bigint
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = public, pg_temp
AS $$
BEGIN
    PERFORM require_approval('erase_customer', customer::text);
    RETURN erase_audit_values(ARRAY(SELECT e FROM erased_audit_rows(customer) AS e));
END
$$;

REVOKE EXECUTE ON FUNCTION erase_audit_of(uuid) FROM public;
