-- Checks on attempts to get in, the source that failed most within the last hour, and on what makes an account or a
-- role more powerful or easier to take, within the last day; what a release does to the roles is left out.
CREATE VIEW health_of_security AS
SELECT
    'authentication_failures' AS check_name,
    coalesce(max(f.failures), 0)::numeric AS value,
    coalesce(
        'Most: ' || string_agg(
            format('%s from %s (%s)', f.failures, f.source, replace(f.kind, '_', ' ')), ', '
            ORDER BY f.failures DESC, f.source ASC
        ) || '.',
        'Nobody failed to prove an identity in the last hour.'
    ) AS message
FROM (
    SELECT
        a.kind,
        a.source,
        sum(a.failures) AS failures
    FROM authentication_failures AS a
    WHERE a.window_start > now() - interval '1 hour'
    GROUP BY a.kind, a.source
    ORDER BY failures DESC, a.source ASC
    LIMIT 3
) AS f
UNION ALL
SELECT
    'account_changes' AS check_name,
    count(*)::numeric AS value,
    coalesce(
        (array_agg(c.told ORDER BY c.id DESC))[1]
        || CASE WHEN count(*) > 1 THEN format(', and %s more', count(*) - 1) ELSE '' END || '.',
        'In the last day no superuser was made, no role widened, no second factor removed.'
    ) AS message
FROM (
    SELECT
        a.id,
        CASE a.table_name
            WHEN 'auth_user'
                THEN
                    format(
                        '%s (%s) made %s a superuser', a.actor, a.actor_kind,
                        coalesce(a.new_values ->> 'username', u.username, 'account ' || a.row_id)
                    )
            WHEN 'mfa_authenticator'
                THEN
                    format(
                        '%s (%s) removed a second factor of %s', a.actor, a.actor_kind,
                        coalesce(o.username, 'account ' || (a.old_values ->> 'user_id'))
                    )
            ELSE
                format(
                    '%s (%s) gave %s the permission %s', a.actor, a.actor_kind,
                    coalesce(a.new_values ->> 'group', a.new_values ->> 'user'), a.new_values ->> 'permission'
                )
        END AS told
    FROM audit_log AS a
    LEFT JOIN auth_user AS u ON a.table_name = 'auth_user' AND a.row_id = u.id::text
    LEFT JOIN auth_user AS o ON a.table_name = 'mfa_authenticator' AND a.old_values ->> 'user_id' = o.id::text
    WHERE
        a.occurred_at > now() - interval '1 day'
        AND a.table_name IN (
            'auth_user', 'auth_group_permissions', 'auth_user_user_permissions', 'mfa_authenticator'
        )
        AND CASE a.table_name
            WHEN 'auth_user' THEN a.new_values @> '{"is_superuser": true}'
            WHEN 'mfa_authenticator' THEN a.action = 'delete'
            ELSE a.action = 'insert' AND NOT (a.actor = 'migrate' AND a.actor_kind = 'system')
        END
) AS c;
