-- A row that names an account, a role or a permission by its id, with the names beside the ids, as far as they are
-- known.
CREATE FUNCTION with_account_names(entry jsonb) RETURNS jsonb
LANGUAGE sql
STABLE
SET search_path = public, pg_temp
AS $$
    SELECT entry || jsonb_strip_nulls(jsonb_build_object(
        'user', (SELECT u.username FROM auth_user AS u WHERE u.id = (entry ->> 'user_id')::int),
        'group', (SELECT g.name FROM auth_group AS g WHERE g.id = (entry ->> 'group_id')::int),
        'permission', (
            SELECT t.app_label::text || '.' || p.codename::text
            FROM auth_permission AS p
            INNER JOIN django_content_type AS t ON p.content_type_id = t.id
            WHERE p.id = (entry ->> 'permission_id')::int
        )
    ))
$$;
