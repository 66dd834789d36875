from django.apps import AppConfig


class DatabaseConfig(AppConfig):
    """The database as a whole: migrated, verified, backed up, restored, its roles.

    Another app's config may say what it adds: `database_rights` (see `glyphforge.database.rights`), `database_status`
    maps a section of `database status` to the table it needs and its query, `without_rows` names the tables whose rows
    no backup holds.
    """

    name = "glyphforge.database"
    label = "database"
    verbose_name = "Database"
    database_status = {
        "backups": (
            "backup_runs",
            """
            SELECT DISTINCT ON (kind) kind, status, finished_at, file, bytes, error FROM backup_runs
            ORDER BY kind, finished_at DESC
            """,
        )
    }
    without_rows = ("django_session",)  # a stolen session is a login
