"""Columns that most tables share; the values come from the database, whoever writes."""

from typing import Any

from django.contrib.postgres.functions import RandomUUID
from django.core.validators import MinValueValidator, RegexValidator
from django.db import models
from django.db.models.functions import Now

# An object as an API or a jsonb column has it.
Json = dict[str, Any]
NOT_NEGATIVE = MinValueValidator(0)


def uuid_key() -> Any:
    """A primary key that PostgreSQL draws at random (`gen_random_uuid()`)."""
    return models.UUIDField(primary_key=True, db_default=RandomUUID(), editable=False)


def currency() -> Any:
    """A currency as Stripe names it: three lower-case letters of ISO 4217."""
    iso = RegexValidator(r"\A[a-z]{3}\Z", "A currency has three lower-case letters.")
    return models.TextField(db_default="usd", validators=[iso])


def created_at() -> Any:
    """When the row came to be, by the database's clock."""
    return models.DateTimeField(db_default=Now(), editable=False)


def updated_at() -> Any:
    """When the row was last changed, by the database's clock; a trigger maintains it (`set_updated_at()`)."""
    return models.DateTimeField(db_default=Now(), editable=False)
