-- Brings the daily tables up to date: yesterday is closed, today is provisional, missed days are caught up. The number
-- of days written. Safe to run at any time and twice.
CREATE FUNCTION take_daily_snapshot() RETURNS bigint
LANGUAGE plpgsql
SET search_path = public, pg_temp
AS $$
DECLARE
    today CONSTANT date := (now() AT TIME ZONE 'UTC')::date;
    since date;
BEGIN
    PERFORM reconcile_mrr();
    -- A transaction that began before midnight is booked on the day it began, so yesterday is recounted as well.
    since := least(
        today - 1,
        coalesce(
            (SELECT max(f.day) FROM daily_figures AS f),
            (SELECT min(u.created_at AT TIME ZONE 'UTC')::date FROM users AS u),
            today - 1
        )
    );
    PERFORM refresh_daily_mrr(since);
    RETURN refresh_daily_figures(since);
END
$$;
