"""Each rendering of a form carries a token and is confirmed once, not by a second click, a reload or going back."""

import secrets

from django.db import connection

LONGEST = 100  # characters; what is longer was never in a form of ours


def new() -> str:
    """A token for one rendering."""
    return secrets.token_urlsafe(16)


def use(token: str) -> bool:
    """Use the token up; false where it was before, by whichever process."""
    if not token.isascii() or len(token) > LONGEST:
        return False
    with connection.cursor() as cursor:
        cursor.execute("INSERT INTO used_forms (token) VALUES (%s) ON CONFLICT DO NOTHING", [token])
        return bool(cursor.rowcount)
