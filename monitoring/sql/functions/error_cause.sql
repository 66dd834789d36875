-- What errors that differ in ids, names in quotes and numbers only have in common: their first line without quoted
-- values, paths of addresses, e-mail addresses, Stripe's ids, uuids, numbers of invoices, words with a digit, and
-- moments. One … stands for all that follow each other.
CREATE FUNCTION error_cause(error text) RETURNS text
LANGUAGE plpgsql
IMMUTABLE
PARALLEL SAFE
SET search_path = public, pg_temp
SET standard_conforming_strings = on
AS $$
DECLARE
    cause text := left(split_part(btrim(coalesce(error, ''), E' \n'), E'\n', 1), 500);
    pattern text;
BEGIN
    -- What the first parentheses of each hold stays.
    FOREACH pattern IN ARRAY ARRAY[
        '(^|[\s(=:,])(''([^'']|''\w)*''(?!\w)|"[^"]*"|`[^`]*`|“[^”]*”|‘[^’]*’|«[^»]*»)',
        '(https?://[^\s/?#]+)\S*',
        '()[^\s@<>(),;:]+@[^\s@<>(),;:]+',
        '()\m[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}\M',
        '()\m[A-Z0-9]{6,}-[0-9]+\M',
        '()\m[0-9a-fA-F]{0,4}(:[0-9a-fA-F]{0,4}){2,7}\M',
        '()\m[a-z]+_\w*[A-Z]\w*',
        '()\w*[0-9](\w|[.,:/+-]+\w)*'
    ]
    LOOP
        cause := regexp_replace(cause, pattern, '\1…', 'g');
    END LOOP;
    -- Few ids are left that have neither a digit nor a capital, and looking for them takes longer than all before.
    IF strpos(cause, '_') > 0 THEN
        cause := regexp_replace(
            cause,
            '\m(evt|cus|sub|si|price|prod|plan|in|ii|il|ch|py|pi|pm|re|du|dp|txn|po|seti|acct|req|tok|src|card|we)_\w+',
            '…', 'g'
        );
    END IF;
    cause := regexp_replace(
        cause,
        '\m(Mon|Tue|Wed|Thu|Fri|Sat|Sun|Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)[a-z]*[.,]?\s+(?=…)',
        '…', 'g'
    );
    RETURN btrim(regexp_replace(cause, '[-+$#]*…([-\s(),.:;/+$#%]*…)*', '…', 'g'));
END
$$;
