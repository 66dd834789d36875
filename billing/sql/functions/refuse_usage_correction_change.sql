-- Corrections of usage are append-only, whoever asks: what was wrong is corrected by another one. They go with their
-- customer, who is gone already when the cascade reaches them, and their reasons with who is erased.
CREATE FUNCTION refuse_usage_correction_change() RETURNS trigger
LANGUAGE plpgsql
SET search_path = public, pg_temp
AS $$
BEGIN
    IF TG_OP = 'DELETE' AND NOT EXISTS (SELECT FROM users AS u WHERE u.id = OLD.user_id) THEN
        RETURN OLD;
    END IF;
    IF TG_OP = 'UPDATE' THEN
        IF NEW.reason = '[erased]' AND to_jsonb(NEW) - 'reason'::text = to_jsonb(OLD) - 'reason'::text THEN
            RETURN NEW;
        END IF;
    END IF;
    RAISE EXCEPTION 'usage_corrections: rows are append-only'
        USING ERRCODE = 'insufficient_privilege',
              DETAIL = format('%s was refused.', TG_OP),
              HINT = 'Correct it by another row with the opposite sign.';
END
$$;
