CREATE FUNCTION keep_api_key_revoked() RETURNS trigger
LANGUAGE plpgsql
SET search_path = public, pg_temp
SET timezone = 'UTC'
SET datestyle = 'ISO'
AS $$
BEGIN
    RAISE EXCEPTION 'api_keys: a revoked key stays revoked'
        USING ERRCODE = 'check_violation', DETAIL = format('Key %s was revoked at %s.', OLD.key_prefix, OLD.revoked_at),
              HINT = 'Create a new key instead.';
END
$$;
