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
