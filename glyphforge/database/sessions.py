"""Cancels statements and ends sessions of this database, by the function of its owner that may."""

from typing import Literal

from django.db import ProgrammingError, connection, transaction
from psycopg.errors import InsufficientPrivilege

from glyphforge import audit
from glyphforge.errors import Refused

Signal = Literal["cancel", "terminate"]


def signal(session_id: str, how: Signal, *, holder: str, actor: str, reason: str) -> None:
    """Cancel the statement of the session or end it; `holder` tells in the audit log whose it was.

    Refuses a session that is gone or of another database, and says which right the database's role lacks.
    """
    try:
        with transaction.atomic(), audit.acting_as(actor=actor, reason=reason):
            with connection.cursor() as cursor:
                cursor.execute("SELECT signal_session(%s, %s)", [session_id, how])
                if not cursor.fetchone()[0]:
                    raise Refused("The session has ended, or belongs to another database.")
            action = {"cancel": "cancel_query", "terminate": "end_session"}[how]
            audit.record(action, table_name="sessions", row_id=session_id, new_values={"holder": holder})
    except ProgrammingError as error:
        if not isinstance(error.__cause__, InsufficientPrivilege):
            raise
        raise Refused(
            "The database's role may not end sessions of others, and of a superuser nobody else may."
            " A superuser grants it: manage.py database init --roles."
        ) from error
