-- Counts one failure of the source in the current window of ten minutes and returns the window's count so far.
CREATE FUNCTION count_authentication_failure(kind text, source text, subject text DEFAULT NULL)
RETURNS int
LANGUAGE sql
SET search_path = public, pg_temp
AS $$
    INSERT INTO authentication_failures AS f (kind, source, window_start, last_subject, last_failure_at)
    VALUES (
        count_authentication_failure.kind,
        left(count_authentication_failure.source, 200),
        date_bin('10 minutes', clock_timestamp(), timestamptz '2000-01-01 00:00:00+00'),
        left(count_authentication_failure.subject, 200),
        clock_timestamp()
    )
    ON CONFLICT ON CONSTRAINT authentication_failures_window_key DO UPDATE
    SET failures = f.failures + 1, last_subject = excluded.last_subject, last_failure_at = excluded.last_failure_at
    RETURNING f.failures
$$;
