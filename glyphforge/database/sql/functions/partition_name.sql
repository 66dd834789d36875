-- What the partition of a month is called, as api_usage_2026_11.
CREATE FUNCTION partition_name(parent regclass, month date) RETURNS text
LANGUAGE sql
STABLE
SET search_path = public, pg_temp
AS $$
    SELECT format('%s_%s', c.relname, to_char(month::timestamp, 'YYYY"_"MM')) FROM pg_class AS c WHERE c.oid = parent::oid
$$;
