-- A seal stays as it was made.
CREATE FUNCTION refuse_seal_change() RETURNS trigger
LANGUAGE plpgsql
SET search_path = public, pg_temp
AS $$
BEGIN
    RAISE EXCEPTION 'audit_seals: seals are append-only'
        USING ERRCODE = 'insufficient_privilege', DETAIL = format('%s was refused.', TG_OP);
END
$$;
