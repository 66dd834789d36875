#!/bin/sh
# Migrate, have the SQL roles and give those that web and worker connect as their passwords from the environment.
set -eu
python manage.py database init --roles
psql "$DATABASE_URL" --quiet --no-psqlrc --set=ON_ERROR_STOP=1 <<'SQL'
\getenv web GLYPHFORGE_WEB_PASSWORD
\getenv worker GLYPHFORGE_WORKER_PASSWORD
\getenv retention GLYPHFORGE_RETENTION_PASSWORD
\getenv backup GLYPHFORGE_BACKUP_PASSWORD
-- Neither the server's log nor an error of it shows a password.
SET log_statement = 'none';
SET log_min_error_statement = 'panic';
ALTER ROLE glyphforge_web PASSWORD :'web';
ALTER ROLE glyphforge_worker PASSWORD :'worker';
ALTER ROLE glyphforge_retention PASSWORD :'retention';
ALTER ROLE glyphforge_backup PASSWORD :'backup';
SQL
