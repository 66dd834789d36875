-- An address and a name as they are searched: in small letters and without accents, ß as ss. An index is built on it,
-- so what it makes of a text never changes.
CREATE FUNCTION search_form(email text, name text) RETURNS text
LANGUAGE sql
IMMUTABLE PARALLEL SAFE
SET search_path = public, pg_temp
AS $$
    SELECT translate(
        replace(replace(replace(
            regexp_replace(normalize(lower(person.given), NFKD), '[\u0300-\u036f]', '', 'g'),
            'ß', 'ss'), 'æ', 'ae'), 'œ', 'oe'),
        'øłđı', 'oldi'
    )
    FROM (SELECT coalesce(email, '') || ' ' || coalesce(name, '') AS given) AS person
$$;
