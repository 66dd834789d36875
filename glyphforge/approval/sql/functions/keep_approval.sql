-- What was asked stays as it was asked, and what was decided as it was decided: a row goes from asked to approved,
-- refused or withdrawn, from approved to done, and no way back. Words alone may change: of a person who is erased.
CREATE FUNCTION keep_approval() RETURNS trigger
LANGUAGE plpgsql
SET search_path = public, pg_temp
AS $$
BEGIN
    IF (new.id, new.kind, new.subject, new.asked_by, new.asked_at, new.expires_at)
        IS DISTINCT FROM (old.id, old.kind, old.subject, old.asked_by, old.asked_at, old.expires_at)
    THEN
        RAISE EXCEPTION 'approvals: what was asked cannot be changed'
            USING ERRCODE = 'restrict_violation', HINT = 'Withdraw the request and make another.';
    END IF;
    IF new.state <> old.state AND NOT (
        (old.state = 'asked' AND new.state IN ('approved', 'refused', 'withdrawn'))
        OR (old.state = 'approved' AND new.state = 'done')
    )
    THEN
        RAISE EXCEPTION 'approvals: a request that is % cannot become %', old.state, new.state
            USING ERRCODE = 'restrict_violation';
    END IF;
    IF old.decided_by IS NOT NULL AND (new.decided_by, new.decided_at) IS DISTINCT FROM (old.decided_by, old.decided_at)
    THEN
        RAISE EXCEPTION 'approvals: what was decided cannot be changed'
            USING ERRCODE = 'restrict_violation';
    END IF;
    IF old.state = 'asked' AND new.state IN ('approved', 'refused') AND old.expires_at <= now() THEN
        RAISE EXCEPTION 'approvals: the request of % is stale since %', old.asked_at, old.expires_at
            USING ERRCODE = 'restrict_violation', HINT = 'Ask anew.';
    END IF;
    RETURN new;
END
$$;
