-- The endpoint as the traffic tables name it: as it is up to 200 characters, else its beginning and its hash, so that
-- different endpoints stay apart.
CREATE FUNCTION traffic_endpoint(endpoint text) RETURNS text
LANGUAGE sql
IMMUTABLE
PARALLEL SAFE
AS $$
    SELECT CASE WHEN length(endpoint) <= 200 THEN endpoint ELSE left(endpoint, 200) || '… ' || md5(endpoint) END
$$;
