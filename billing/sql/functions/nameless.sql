-- What an audit row says of a row of the table, with `[erased]` for names and addresses that it holds.
CREATE FUNCTION nameless(of_table text, said jsonb) RETURNS jsonb
LANGUAGE sql
IMMUTABLE
SET search_path = public, pg_temp
AS $$
    SELECT CASE
        WHEN of_table IN ('users', 'api_keys') THEN said || coalesce((
            SELECT jsonb_object_agg(m.key, '[erased]')
            FROM jsonb_each(said) AS m
            WHERE m.key IN ('email', 'name', 'legal_hold') AND m.value NOT IN ('null', '""')
        ), '{}'::jsonb)
        ELSE said
    END
$$;
