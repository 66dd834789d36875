-- A schedule names one of the functions that the queue runs, and no other to be called with the result. A row that does
-- not is refused, as one that django-q2 cannot read stops every schedule. The worker has the same list.
CREATE FUNCTION refuse_unknown_task() RETURNS trigger
LANGUAGE plpgsql
SET search_path = public, pg_temp
AS $$
DECLARE
    known constant text[] := ARRAY[
        'billing.tasks.advance_replay', 'billing.tasks.erase_customer', 'billing.tasks.process_event',
        'billing.tasks.resync_customer', 'billing.tasks.send_key_notice', 'billing.tasks.send_leak_notice',
        'glyphforge.staff.notices.send', 'monitoring.jobs.runner.run_now', 'monitoring.jobs.runner.run_slot'
    ];
BEGIN
    IF NEW.func OPERATOR(pg_catalog.<>) ALL (known) OR NEW.hook IS NOT NULL THEN
        RAISE EXCEPTION 'django_q_schedule: func % with hook % is not what the queue runs',
            quote_nullable(NEW.func), quote_nullable(NEW.hook)
            USING ERRCODE = 'check_violation', HINT = format('func is one of %s; hook is NULL.', array_to_string(known, ', '));
    END IF;
    RETURN NEW;
END
$$;
