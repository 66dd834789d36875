-- How many milliseconds the first view that is locked may keep a reading of all waiting: the setting
-- app.check_patience_ms, up to a second, which it is without one that is a number.
CREATE FUNCTION check_patience() RETURNS int
LANGUAGE sql
STABLE
SET search_path = public, pg_temp
AS $$
    SELECT
        CASE
            WHEN current_setting('app.check_patience_ms', true) ~ '^[0-9]{1,4}$'
                THEN least(current_setting('app.check_patience_ms')::int, 1000)
            ELSE 1000
        END
$$;
