-- Lets events try again that wait for what a row brings: the column that the argument names.
CREATE FUNCTION release_waiting_events() RETURNS trigger
LANGUAGE plpgsql
SET search_path = public, pg_temp
AS $$
BEGIN
    PERFORM retry_waiting_events(to_jsonb(NEW) ->> TG_ARGV[0]);
    RETURN NULL;
END
$$;
