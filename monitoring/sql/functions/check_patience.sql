-- How many milliseconds the first view that is locked may keep a reading of all waiting: the setting
-- app.check_patience_ms, else a second.
CREATE FUNCTION check_patience() RETURNS int
LANGUAGE sql
STABLE
SET search_path = public, pg_temp
AS $$
    SELECT coalesce(nullif(current_setting('app.check_patience_ms', true), '')::int, 1000)
$$;
