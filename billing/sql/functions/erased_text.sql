-- The text with `[erased]` in place of all that the pattern, of personal_pattern(), finds.
CREATE FUNCTION erased_text(content text, pattern text) RETURNS text
LANGUAGE sql
IMMUTABLE
SET search_path = public, pg_temp
AS $$
    SELECT CASE WHEN pattern <> '' THEN regexp_replace(content, pattern, '[erased]', 'gi') ELSE content END
$$;
