#!/bin/sh
# Migrate, have the SQL roles and give those that web and worker connect as their passwords from the environment.
set -eu
python manage.py database init --roles
psql "$DATABASE_URL" --quiet --no-psqlrc --set=ON_ERROR_STOP=1 <<'SQL'
\getenv app GLYPHFORGE_APP_PASSWORD
\getenv backup GLYPHFORGE_BACKUP_PASSWORD
-- Neither the server's log nor an error of it shows a password.
SET log_statement = 'none';
SET log_min_error_statement = 'panic';
ALTER ROLE glyphforge_app PASSWORD :'app';
ALTER ROLE glyphforge_backup PASSWORD :'backup';
SQL
