-- What errors that differ in ids and numbers only have in common: their first line without quoted values, addresses,
-- Stripe's ids, uuids, hexadecimal and other numbers, moments among them.
CREATE FUNCTION error_cause(error text) RETURNS text
LANGUAGE sql
IMMUTABLE
PARALLEL SAFE
SET search_path = public, pg_temp
SET standard_conforming_strings = on
AS $$
    SELECT
        btrim(regexp_replace(
            regexp_replace(
                regexp_replace(
                    regexp_replace(
                        regexp_replace(
                            regexp_replace(
                                left(split_part(coalesce(error, ''), E'\n', 1), 500),
                                '(^|[\s(=:,])(''[^'']*''|"[^"]*"|`[^`]*`)', '\1…', 'g'
                            ),
                            '[^\s@<>(),;:]+@[^\s@<>(),;:]+', '…', 'g'
                        ),
                        '\m(evt|cus|sub|si|price|prod|plan|in|ii|il|ch|py|pi|pm|re|du|dp|txn|seti|acct|req|tok|src|card|we)_\w+',
                        '…', 'g'
                    ),
                    '\m[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}\M', '…', 'g'
                ),
                '\m(0[xX][0-9a-fA-F]+|(?=[a-fA-F]*[0-9])[0-9a-fA-F]{8,})\M', '…', 'g'
            ),
            '[-+]?[0-9]+([.,:/T-]?[0-9]+)*Z?|(\s|…)+(?=(\s|…))', '…', 'g'
        ))
$$;
