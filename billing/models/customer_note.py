"""`customer_notes`: written by `billing.services.notes`, never changed."""

from django.db import models

from billing.models.user import User
from glyphforge.rows import created_at, uuid_key


class CustomerNote(models.Model):
    """What staff want the next person to know about a customer; never shown to the customer."""

    id = uuid_key()
    user = models.ForeignKey(User, verbose_name="customer", on_delete=models.CASCADE, related_name="notes")
    author = models.TextField()
    body = models.TextField()
    created_at = created_at()

    class Meta:
        db_table = "customer_notes"
        ordering = ["-created_at"]
        default_permissions = ("add", "view")

    def __str__(self) -> str:
        return f"{self.author}: {self.body}"
