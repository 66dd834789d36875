-- Cancels the statement of a session (`cancel`) or ends it (`terminate`); false when it is gone. Its id is that of log
-- lines (%c): in hexadecimal when it began, which may be left out, a point, and its process. Of this database only,
-- never the own one. The application's role may not signal others, the owner may where it has pg_signal_backend; of
-- superusers' sessions neither: https://www.postgresql.org/docs/current/functions-admin.html
CREATE FUNCTION signal_session(session text, signal text) RETURNS boolean
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = public, pg_temp
AS $$
DECLARE
    process int;
BEGIN
    SELECT a.pid INTO process
    FROM pg_stat_activity AS a
    WHERE
        a.datname = current_database()
        AND coalesce(a.backend_type, 'client backend') = 'client backend'
        AND a.pid <> pg_backend_pid()
        AND split_part('.' || session, '.', -1) = to_hex(a.pid)
        -- Either side may not see when it began.
        AND (
            session NOT LIKE '%.%' OR a.backend_start IS NULL
            OR split_part(session, '.', 1) = to_hex(extract(EPOCH FROM a.backend_start)::bigint)
        );
    IF process IS NULL THEN
        RETURN false;
    END IF;
    CASE signal
        WHEN 'cancel' THEN RETURN pg_cancel_backend(process);
        WHEN 'terminate' THEN RETURN pg_terminate_backend(process);
        ELSE RAISE EXCEPTION 'signal_session: signal must be cancel or terminate, not %', coalesce(signal, 'NULL')
            USING ERRCODE = 'invalid_parameter_value';
    END CASE;
END
$$;

REVOKE EXECUTE ON FUNCTION signal_session(text, text) FROM public;
