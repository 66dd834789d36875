-- An ORM's save() writes back the counters as they were when it read the row. Only the fold, which sets app.counting
-- and is let through by the trigger's condition, moves them; anybody else's value is ignored.
CREATE FUNCTION guard_api_key_counters() RETURNS trigger
LANGUAGE plpgsql
SET search_path = public, pg_temp
AS $$
BEGIN
    NEW.usage_count := OLD.usage_count;
    NEW.last_used_at := OLD.last_used_at;
    RETURN NEW;
END
$$;
