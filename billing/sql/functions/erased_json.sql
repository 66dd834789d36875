-- The value with `[erased]` in place of all that the pattern, of personal_pattern(), finds in its texts and keys.
CREATE FUNCTION erased_json(content jsonb, pattern text) RETURNS jsonb
LANGUAGE plpgsql
IMMUTABLE
SET search_path = public, pg_temp
AS $$
BEGIN
    IF pattern = '' OR content::text !~* pattern THEN
        RETURN content;
    END IF;
    RETURN CASE jsonb_typeof(content)
        WHEN 'string' THEN to_jsonb(erased_text(content #>> '{}', pattern))
        WHEN 'object' THEN (
            SELECT jsonb_object_agg(erased_text(m.key, pattern), erased_json(m.value, pattern))
            FROM jsonb_each(content) AS m
        )
        WHEN 'array' THEN (
            SELECT jsonb_agg(erased_json(m.value, pattern) ORDER BY m.n)
            FROM jsonb_array_elements(content) WITH ORDINALITY AS m (value, n)
        )
        ELSE content
    END;
END
$$;
