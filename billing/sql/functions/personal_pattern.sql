-- A regular expression that finds the terms in texts, whatever their case, as whole words, the longest first; empty
-- without terms. An address of one is not found in another that ends or begins with it.
CREATE FUNCTION personal_pattern(terms text[]) RETURNS text
LANGUAGE sql
IMMUTABLE
SET search_path = public, pg_temp
AS $$
    SELECT coalesce(
        string_agg(
            CASE
                WHEN t.term ~ '@|%40' THEN '(?<![[:alnum:]._%+-])' || t.escaped || '(?![[:alnum:]]|[.-][[:alnum:]])'
                ELSE '(?<![[:alnum:]])' || t.escaped || '(?![[:alnum:]])'
            END,
            '|' ORDER BY length(t.term) DESC, t.term
        ),
        ''
    )
    FROM (
        SELECT u.term, regexp_replace(u.term, '([^[:alnum:][:space:]])', '\\\1', 'g') AS escaped
        FROM unnest(terms) AS u (term)
    ) AS t
$$;
