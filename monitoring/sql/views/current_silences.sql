-- The checks that are silenced at this moment, until when and why; of several windows the one that ends last.
CREATE VIEW current_silences AS
SELECT DISTINCT ON (k.check_name)
    k.check_name,
    s.ends_at AS silenced_until,
    s.reason,
    s.created_by
FROM silences AS s
INNER JOIN known_checks() AS k ON k.check_name LIKE replace(replace(s.check_pattern, '_', '\_'), '*', '%')
WHERE s.starts_at <= now() AND s.ends_at > now()
ORDER BY k.check_name ASC, s.ends_at DESC;
