-- Frozen by `manage.py database freeze`: a later migration changes what this one made.

SET LOCAL check_function_bodies = off;

DO $$ BEGIN DROP TABLE IF EXISTS pg_temp.kept_rights; END $$;
CREATE TEMPORARY TABLE kept_rights ON COMMIT DROP AS
SELECT
    c.relname,
    format(
        'GRANT %s ON %I TO %s', a.privilege_type, c.relname,
        CASE a.grantee WHEN 0 THEN 'public' ELSE quote_ident(pg_get_userbyid(a.grantee)) END
    ) AS statement
FROM pg_class AS c
CROSS JOIN aclexplode(c.relacl) AS a
WHERE c.relnamespace = 'public'::regnamespace AND c.relname IN ('first_payments', 'monthly_mrr_movements', 'v_mrr_retention', 'v_lifetime_value', 'v_renewals', 'v_forecast', 'v_retention', 'v_retention_customers') AND a.grantee <> c.relowner;

DROP VIEW v_retention_customers;
DROP VIEW v_retention;
DROP VIEW v_forecast;
DROP VIEW v_renewals;
DROP VIEW v_lifetime_value;
DROP VIEW v_mrr_retention;
DROP VIEW monthly_mrr_movements;
DROP VIEW first_payments;

-- Gone.

-- Gone.

-- Gone.

-- Gone.

-- Gone.

-- Gone.

-- Gone.

-- Gone.

DROP FUNCTION usage_forecasts;

DROP FUNCTION forecast_requests;

--!
DO $$
DECLARE
    kept record;
BEGIN
    -- A view that is gone has no rights.
    FOR kept IN SELECT k.statement FROM kept_rights AS k WHERE to_regclass(quote_ident(k.relname)) IS NOT NULL LOOP
        EXECUTE kept.statement;
    END LOOP;
    -- Another migration of this transaction may keep rights, too.
    DROP TABLE kept_rights;
END
$$;
