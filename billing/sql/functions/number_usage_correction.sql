-- Gives a correction its number among those of its customer's month, and refuses one of a month that has not begun and
-- one that would leave less than nothing. Those of one customer queue behind each other until their transactions end.
CREATE FUNCTION number_usage_correction() RETURNS trigger
LANGUAGE plpgsql
SET search_path = public, pg_temp
AS $$
DECLARE
    this_month CONSTANT date := date_trunc('month', now() AT TIME ZONE 'UTC')::date;
    used numeric;
BEGIN
    IF NEW.month > this_month THEN
        RAISE EXCEPTION 'usage_corrections: the month % has not begun', to_char(NEW.month, 'YYYY-MM')
            USING ERRCODE = 'check_violation',
                  HINT = format('It is %s or earlier, in UTC.', to_char(this_month, 'YYYY-MM'));
    END IF;
    PERFORM pg_advisory_xact_lock(hashtextextended(format('usage_corrections %s', NEW.user_id), 0));
    NEW.number := 1 + (
        SELECT count(*) FROM usage_corrections AS c WHERE c.user_id = NEW.user_id AND c.month = NEW.month
    );
    used := coalesce(
        (
            SELECT q.counted_requests::numeric + q.corrected_requests::numeric
            FROM quota_usage AS q
            WHERE q.user_id = NEW.user_id AND q.month = NEW.month
        ), 0
    );
    IF NEW.requests < 0 AND used + NEW.requests::numeric < 0::numeric THEN
        RAISE EXCEPTION 'usage_corrections: % of % counts % requests, from which % cannot be taken',
            to_char(NEW.month, 'YYYY-MM'), NEW.user_id, used, -NEW.requests::numeric
            USING ERRCODE = 'check_violation';
    END IF;
    RETURN NEW;
END
$$;
