from django.apps import AppConfig
from django.db.backends.signals import connection_created

from glyphforge.database.rights import Rights


class AuditConfig(AppConfig):
    """The append-only log of changes.

    Another app says in its config where its tables' pages are: `audit_pages` maps a table to the name of its admin
    page, `admin:…_change` for rows that are logged by their key, `admin:…_changelist` for rows that a search finds.
    """

    name = "glyphforge.audit"
    label = "audit"
    verbose_name = "Audit"
    database_rights = Rights(
        read_only=("audit_log", "audit_seals", "read_log"),
        maintenance=("create_audit_log_partitions", "seal_audit_log"),
        retention=("cleanup_audit_log", "cleanup_read_log"),
    )
    seeded = ("audit_log",)

    def ready(self) -> None:
        """Have each new database connection carry the audit context."""
        from glyphforge.audit import context  # noqa: PLC0415 - needs the app registry

        connection_created.connect(context.install, dispatch_uid="glyphforge.audit")
