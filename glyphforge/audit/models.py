"""The audit log as Django reads it; the table and its partitions are in `sql/tables/audit_log.sql`."""

from django.db import models
from django.db.models.functions import Now


class AuditEntry(models.Model):
    """Who changed what, when and why. The database refuses to change or remove it."""

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

    class Meta:
        db_table = "audit_log"
        verbose_name = "audit entry"
        verbose_name_plural = "audit log"

    def __str__(self) -> str:
        return f"{self.action} {self.table_name} by {self.actor}"
