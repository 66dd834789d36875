"""The sessions of staff that go on; triggers on accounts and second factors end them."""

import uuid

from django.conf import settings
from django.db import models
from django.db.models.functions import Now


class StaffSession(models.Model):
    """One browser in which somebody of staff is signed in; without its row it is so no more."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4)
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="+")
    began_at = models.DateTimeField(db_default=Now())
    seen_at = models.DateTimeField(db_default=Now())
    address = models.TextField(null=True)
    browser = models.TextField(null=True)

    class Meta:
        db_table = "staff_sessions"
        default_permissions = ()

    def __str__(self) -> str:
        return f"{self.user} from {self.address or 'an unknown address'}"
