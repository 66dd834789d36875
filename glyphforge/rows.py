"""Columns that most tables share; the values come from the database, whoever writes."""

from typing import Any

from django.contrib.postgres.functions import RandomUUID
from django.db import models
from django.db.models.functions import Now

# An object as an API or a jsonb column has it.
Json = dict[str, Any]


def uuid_key() -> Any:
    """A primary key that PostgreSQL draws at random (`gen_random_uuid()`)."""
    return models.UUIDField(primary_key=True, db_default=RandomUUID(), editable=False)


def created_at() -> Any:
    """When the row came to be, by the database's clock."""
    return models.DateTimeField(db_default=Now(), editable=False)


def updated_at() -> Any:
    """When the row was last changed, by the database's clock; a trigger maintains it (`set_updated_at()`)."""
    return models.DateTimeField(db_default=Now(), editable=False)
