-- Recomputes every day since the first customer or movement: for when the past has changed. The number of days.
CREATE FUNCTION refresh_all_days() RETURNS bigint
LANGUAGE plpgsql
SET search_path = public, pg_temp
AS $$
DECLARE
    first_day CONSTANT date := least(
        (SELECT min(m.occurred_at) FROM mrr_movements AS m),
        (SELECT min(u.created_at) FROM users AS u),
        now()
    ) AT TIME ZONE 'UTC';
BEGIN
    PERFORM refresh_daily_mrr(first_day);
    RETURN refresh_daily_figures(first_day);
END
$$;
