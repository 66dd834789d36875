"""An error in words for people; what a library says of itself is in the log."""

from django.db import Error, connection

from glyphforge.audit.masking import mask


def plain_error(error: BaseException) -> str:
    """What the database's function of that name makes of it, masked; without the database that is what is wrong."""
    text = mask(f"{type(error).__name__}: {error}")
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT plain_error(%s)", [text.replace("\0", "")])
            return str(cursor.fetchone()[0])
    except Error:
        return "The database could not be reached."
