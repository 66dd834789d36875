#!/bin/sh
# Write the list of users from the environment, then become PgBouncer.
set -eu
umask 077
printf '"%s" "%s"\n' \
    glyphforge_web "${GLYPHFORGE_WEB_PASSWORD:?}" glyphforge_worker "${GLYPHFORGE_WORKER_PASSWORD:?}" > /tmp/userlist.txt
sed 's|^auth_file = .*|auth_file = /tmp/userlist.txt|' /etc/pgbouncer/pgbouncer.ini > /tmp/pgbouncer.ini
exec pgbouncer /tmp/pgbouncer.ini
