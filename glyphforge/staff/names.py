"""Names that no account may have, as programs act under them in the audit log."""

from django.core.exceptions import ValidationError
from django.db import connection


def is_reserved(name: str) -> bool:
    """Whether the database keeps the name for programs; it refuses an account that is called so."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT is_reserved_name(%s)", [name])
        return bool(cursor.fetchone()[0])


def require_free(name: str) -> None:
    """Raise ValidationError for a name that is kept for programs."""
    if is_reserved(name):
        raise ValidationError(f"{name} is the name of a program: choose another one.")
