from django.apps import AppConfig
from django.db.models.signals import post_migrate

from glyphforge.database.rights import Rights


class DatabaseConfig(AppConfig):
    """The database as a whole: migrated, verified, backed up, restored, its roles.

    Another app's config may say what it adds: `database_rights` (see `glyphforge.database.rights`), `database_status`
    maps a section of `database status` to the table it needs and its query, `without_rows` names the tables whose rows
    no backup holds, `seeded` those that `migrate` fills. Its method `beside_backup(folder, alias)` puts beside a
    database's backups what restoring them needs; `after_restore(alias, folder, source)` does what has to be done before
    anybody uses what was restored from there, over the connection `source`, and returns what to say of it.
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
    seeded = (
        *("django_migrations", "django_content_type", "auth_permission", "auth_group", "auth_group_permissions"),
        *("django_q_schedule", "installation"),
    )
    database_rights = Rights(
        read_only=("installation",),
        maintenance=(
            *("analyze_partitioned_tables", "create_monthly_partition", "create_monthly_partitions", "delete_rows"),
            *("drop_partitions_before", "make_monthly_partitions", "run_maintenance_tasks"),
        ),
    )

    def ready(self) -> None:
        """Have `migrate` make a new database production, and constraints of new migrations read the rows there."""
        from glyphforge.database import installation, roles, validation  # noqa: PLC0415 - need the app registry

        post_migrate.connect(installation.install_after_migrate, sender=self)
        post_migrate.connect(roles.renew_after_migrate, sender=self, dispatch_uid="glyphforge.database.roles")
        post_migrate.connect(validation.after_migrate, sender=self, dispatch_uid="glyphforge.database.validation")
