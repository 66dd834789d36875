"""Columns that most tables share; the values come from the database, whoever writes."""

from typing import Any

from django.contrib.postgres.functions import RandomUUID
from django.db import models
from django.db.models.functions import Now


def uuid_key() -> Any:
    return models.UUIDField(primary_key=True, db_default=RandomUUID(), editable=False)


def created_at() -> Any:
    return models.DateTimeField(db_default=Now(), editable=False)


def updated_at() -> Any:
    """Maintained by a trigger."""
    return models.DateTimeField(db_default=Now(), editable=False)
