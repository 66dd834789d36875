"""Whether this database is production or a copy of it, which stays silent until it is told to be production.

The row in `installation` names the table that it was written to, and a backup takes it along. In what is restored from
a dump, here or on another server, the table is another one. What is copied by its files is the same: a standby that
takes over, and a clone by `CREATE DATABASE … TEMPLATE` or by a snapshot, which has to be told that it is a copy.
"""

import getpass
import logging
import time
from dataclasses import asdict, dataclass
from typing import Any

from django.db import DEFAULT_DB_ALIAS, OperationalError, connections, transaction
from psycopg.errors import LockNotAvailable

from glyphforge import audit
from glyphforge.database.connection import DatabaseError

# A process does not move to another database; what is believed for so long is only that it is production.
BELIEVED_SECONDS = 60.0
COPY = (
    "This database is a copy: it runs no schedules, sends no messages and does not write to Stripe."
    " To make it production: manage.py database adopt --apply"
)

logger = logging.getLogger(__name__)
_believed_until: dict[tuple[str, str], float] = {}


@dataclass(frozen=True)
class Identity:
    """A database among all others: its server's identifier and its table's number there; the name is for readers."""

    system_identifier: int
    table_oid: int
    database_name: str

    def __str__(self) -> str:
        return f"{self.database_name} (table {self.table_oid} of server {self.system_identifier})"


def is_production(alias: str = DEFAULT_DB_ALIAS) -> bool:
    """Whether the database was told to be production; raises what the database raises.

    One whose row is locked is taken for production: its alerts and pages must not stop for that.
    """
    key = (alias, str(connections[alias].settings_dict["NAME"]))
    if time.monotonic() < _believed_until.get(key, 0):
        return True
    try:
        with transaction.atomic(using=alias), connections[alias].cursor() as cursor:
            cursor.execute("SELECT is_production()")
            (answer,) = cursor.fetchone()
    except OperationalError as error:
        if not isinstance(error.__cause__, LockNotAvailable):
            raise
        logger.warning("Whether this is production cannot be asked, as `installation` is locked")
        return True
    if answer:
        _believed_until[key] = time.monotonic() + BELIEVED_SECONDS
    return bool(answer)


def forget() -> None:
    """Ask the database anew, as after it was put in the place of another one."""
    _believed_until.clear()


def this(alias: str) -> Identity:
    """The database that the connection leads to."""
    return _identity("this_database()", alias) or Identity(0, 0, "")


def adopted(alias: str) -> Identity | None:
    """The database that was told to be production, which may be another one; None before the first."""
    return _identity("installation", alias)


def adopt(alias: str, *, actor: str) -> None:
    """Make the connection's database production; audited. Raises DatabaseError where it is."""
    if _is_production_now(alias):
        raise DatabaseError(f"{this(alias)} is production already")
    _name(this(alias), "adopt", alias, actor)


def disown(alias: str, *, actor: str) -> None:
    """Make the connection's database a copy, whatever it was; audited. Raises DatabaseError where it is one.

    For a copy that its identity does not give away: of the whole server by its files, as a snapshot is one.
    """
    if not _is_production_now(alias):
        raise DatabaseError(f"{this(alias)} is a copy already")
    _name(Identity(0, 0, this(alias).database_name), "disown", alias, actor)


def install_after_migrate(using: str, **kwargs: Any) -> None:
    """Make a new database production after the `post_migrate` that made it; one that names another stays a copy."""
    with connections[using].cursor() as cursor:
        cursor.execute("SELECT to_regclass('installation') IS NOT NULL AND to_regproc('this_database') IS NOT NULL")
        if cursor.fetchone() == (True,) and adopted(using) is None:
            _name(this(using), "adopt", using, "migrate")


def command_user() -> str:
    """Who runs a command, for the audit log."""
    return f"command:{getpass.getuser()}"


def _is_production_now(alias: str) -> bool:
    forget()
    return is_production(alias)


def _identity(source: str, alias: str) -> Identity | None:
    with connections[alias].cursor() as cursor:
        cursor.execute(f"SELECT system_identifier, table_oid, database_name FROM {source}")
        row = cursor.fetchone()
    return Identity(*row) if row else None


def _name(identity: Identity, action: str, alias: str, actor: str) -> None:
    before = adopted(alias)
    with transaction.atomic(using=alias), audit.acting_as(actor=actor), connections[alias].cursor() as cursor:
        cursor.execute(
            "INSERT INTO installation AS known (system_identifier, table_oid, database_name, adopted_by)"
            " VALUES (%s, %s, %s, %s) ON CONFLICT (only_row) DO UPDATE SET"
            " system_identifier = excluded.system_identifier, table_oid = excluded.table_oid,"
            " database_name = excluded.database_name, adopted_at = now(), adopted_by = excluded.adopted_by",
            [identity.system_identifier, identity.table_oid, identity.database_name, actor],
        )
        if before is not None:
            audit.record(
                action,
                table_name="installation",
                old_values=asdict(before),
                new_values=asdict(identity),
                using=alias,
            )
    forget()
