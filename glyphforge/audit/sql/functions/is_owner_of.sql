-- Whether who calls may do what the owner of the table may, also from inside a function that runs with the owner's
-- rights: what counts is the role that was set, else the one that logged in.
CREATE FUNCTION is_owner_of(relation regclass) RETURNS boolean
LANGUAGE sql
STABLE
SET search_path = public, pg_temp
AS $$
    SELECT pg_has_role(coalesce(nullif(current_setting('role'), 'none'), session_user)::name, c.relowner, 'USAGE')
    FROM pg_class AS c
    WHERE c.oid = relation::oid
$$;
