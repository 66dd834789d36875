-- Frozen by `manage.py database freeze`: a later migration changes what this one made.

SET LOCAL check_function_bodies = off;

--! tables/approvals
-- What one person asks for and another decides: four eyes. subject is the id of the row that it is about, summary says
-- it in words. A request that nobody decides, or that is not carried out, by expires_at is stale and counts no more.
CREATE TABLE approvals (
    id uuid CONSTRAINT approvals_pkey PRIMARY KEY DEFAULT gen_random_uuid(),
    kind text NOT NULL,
    subject text NOT NULL,
    summary text NOT NULL,
    state text NOT NULL DEFAULT 'asked',
    asked_by text NOT NULL,
    asked_at timestamptz NOT NULL DEFAULT now(),
    reason text NOT NULL,
    expires_at timestamptz NOT NULL DEFAULT now() + interval '7 days',
    decided_by text,
    decided_at timestamptz,
    decision_reason text,
    done_at timestamptz,
    CONSTRAINT approvals_state_known CHECK (state IN ('asked', 'approved', 'refused', 'withdrawn', 'done')),
    CONSTRAINT approvals_decided_by_another CHECK (lower(btrim(decided_by)) <> lower(btrim(asked_by))),
    CONSTRAINT approvals_decided_is_signed CHECK (
        (state IN ('approved', 'refused', 'done')) = (decided_by IS NOT NULL)
        AND (decided_by IS NULL) = (decided_at IS NULL) AND (decided_by IS NULL) = (decision_reason IS NULL)
    ),
    CONSTRAINT approvals_done_is_dated CHECK ((state = 'done') = (done_at IS NOT NULL)),
    CONSTRAINT approvals_texts_given CHECK (
        kind <> '' AND subject <> '' AND btrim(asked_by) <> '' AND btrim(decided_by) <> ''
        AND reason <> '' AND decision_reason <> ''
    ),
    CONSTRAINT approvals_texts_bounded CHECK (
        octet_length(kind) <= 63 AND octet_length(subject) <= 255 AND octet_length(summary) <= 8192
        AND octet_length(asked_by) <= 800 AND octet_length(decided_by) <= 800
        AND octet_length(reason) <= 8192 AND octet_length(decision_reason) <= 8192
    ),
    CONSTRAINT approvals_times_plausible CHECK (
        least(asked_at, expires_at, decided_at, done_at) >= '1970-01-01 00:00:00+00'
        AND greatest(asked_at, expires_at, decided_at, done_at) < '2200-01-01 00:00:00+00'
    )
);

CREATE UNIQUE INDEX approvals_one_open ON approvals (kind, subject) WHERE state IN ('asked', 'approved');
CREATE INDEX approvals_subject ON approvals (subject, asked_at DESC);

-- The back office's sorts and filters.
CREATE INDEX approvals_asked_at ON approvals (asked_at);
CREATE INDEX approvals_state ON approvals (state, asked_at DESC);
CREATE INDEX approvals_kind ON approvals (kind, asked_at DESC);

--! functions/keep_approval
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

--! functions/require_approval
-- Raises unless another person has approved the kind of request for the subject.
CREATE FUNCTION require_approval(of_kind text, of_subject text) RETURNS void
LANGUAGE plpgsql
STABLE
SET search_path = public, pg_temp
AS $$
BEGIN
    IF NOT EXISTS (
        SELECT FROM approvals AS a
        WHERE a.kind = of_kind AND a.subject = of_subject AND a.state IN ('approved', 'done')
    )
    THEN
        RAISE EXCEPTION '% of % is not approved', of_kind, of_subject
            USING ERRCODE = 'insufficient_privilege', HINT = 'One person asks for it, another one approves it.';
    END IF;
END
$$;

--! triggers/approvals
CREATE TRIGGER keep_approval BEFORE UPDATE ON approvals
FOR EACH ROW EXECUTE FUNCTION keep_approval();

CREATE TRIGGER audit AFTER INSERT OR UPDATE OR DELETE ON approvals
FOR EACH ROW EXECUTE FUNCTION audit_row_change('id');
