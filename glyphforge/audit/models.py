"""The audit log as Django reads it; the table and its partitions are in `sql/tables/audit_log.sql`."""

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models.functions import Now


class AuditEntry(models.Model):
    """Who changed what, when and why. The database refuses to change or remove it.

    `db_role` is the role that logged in to the database, None for a row that was not written by `record_audit()`.
    """

    class ActorKind(models.TextChoices):
        """Whose name `actor` is, so that no account passes for a program by its name."""

        STAFF = "staff", "an account of the back office"
        SYSTEM = "system", "a program of ours"
        API = "api", "an API server"
        SQL = "sql", "whoever is at the database itself"

    id = models.BigAutoField(primary_key=True)
    occurred_at = models.DateTimeField(db_default=Now())
    actor = models.TextField()
    action = models.TextField(help_text="insert, update, delete, or a named operation.")
    table_name = models.TextField()
    row_id = models.TextField(null=True)
    old_values = models.JSONField(null=True)
    new_values = models.JSONField(null=True)
    reason = models.TextField(null=True)
    request_id = models.TextField(null=True)
    actor_kind = models.TextField(null=True, choices=ActorKind.choices)
    db_role = models.TextField(null=True)

    class Meta:
        db_table = "audit_log"
        verbose_name = "audit entry"
        verbose_name_plural = "audit log"
        permissions = [("export_auditentry", "Can export the audit log")]

    def __str__(self) -> str:
        return f"{self.action} {self.table_name} by {self.actor}"


class Read(models.Model):
    """Somebody of staff looked at a row."""

    id = models.BigAutoField(primary_key=True)
    occurred_at = models.DateTimeField(db_default=Now())
    actor = models.TextField()
    table_name = models.TextField()
    row_id = models.TextField()
    request_id = models.TextField(null=True)
    db_role = models.TextField()

    class Meta:
        db_table = "read_log"

    def __str__(self) -> str:
        return f"{self.actor} read {self.table_name} {self.row_id}"


class AuditSeal(models.Model):
    """One link of the chain over the audit log; see `sql/tables/audit_seals.sql`."""

    to_id = models.BigIntegerField(primary_key=True)
    from_id = models.BigIntegerField()
    rows = models.BigIntegerField()
    sha256 = models.BinaryField()
    previous = models.BinaryField(unique=True)
    sealed_at = models.DateTimeField(db_default=Now())
    row_ids = ArrayField(models.BigIntegerField())
    row_times = ArrayField(models.DateTimeField())
    row_digests = ArrayField(models.BinaryField())

    class Meta:
        db_table = "audit_seals"

    def __str__(self) -> str:
        return f"rows {self.from_id} to {self.to_id}"
