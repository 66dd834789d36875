"""What it takes long to reach is done once a process: afterwards the rows that it left are put in again."""

from collections.abc import Callable
from dataclasses import dataclass

from django.db import connection, transaction

from tests.support.sql import run, scalar


@dataclass(frozen=True)
class _Table:
    """Rows in the binary form of COPY, and where the sequences of the table stood after them."""

    name: str
    columns: str
    rows: bytes
    sequences: tuple[tuple[str, int], ...]


class Remembered:
    """The rows that something inserts into a database that is as migrated."""

    def __init__(self) -> None:
        self._tables: list[_Table] = []

    def rows_of(self, action: Callable[[], object]) -> None:
        """Have the rows of `action` here, in the present transaction; it runs if it has not yet."""
        if self._tables:
            with transaction.atomic():
                self._put_in()
            return
        next_transaction = scalar("SELECT pg_snapshot_xmax(pg_current_snapshot())::text::bigint")
        action()
        written = run("SELECT relid::regclass::text FROM pg_stat_xact_user_tables WHERE n_tup_ins > 0")
        self._tables = [_read(table, next_transaction) for (table,) in written]

    def _put_in(self) -> None:
        with connection.cursor() as cursor:
            # The triggers have done their work on the rows already.
            cursor.execute("SET LOCAL session_replication_role = 'replica'")
            for table in self._tables:
                with cursor.copy(f"COPY {table.name} ({table.columns}) FROM STDIN (FORMAT binary)") as copy:
                    copy.write(table.rows)
                for sequence, last in table.sequences:  # which may be a fresh database's
                    cursor.execute(f"SELECT setval('{sequence}', greatest({last}, last_value)) FROM {sequence}")
            cursor.execute("SET LOCAL session_replication_role = 'origin'")


def _read(table: str, since: int) -> _Table:
    attributes = run(
        "SELECT quote_ident(attname), pg_get_serial_sequence(coalesce(pg_partition_root(%s), %s)::text, attname)"
        " FROM pg_attribute WHERE attrelid = %s::regclass AND attnum > 0 AND NOT attisdropped AND attgenerated = ''",
        table,
        table,
        table,
    )
    columns = ", ".join(name for name, _ in attributes)
    own = f"SELECT {columns} FROM {table} WHERE xmin::text::bigint >= {since}"
    with connection.cursor() as cursor, cursor.copy(f"COPY ({own}) TO STDOUT (FORMAT binary)") as copy:
        rows = b"".join(bytes(block) for block in copy)
    sequences = tuple((name, scalar(f"SELECT last_value FROM {name}")) for _, name in attributes if name)
    return _Table(table, columns, rows, sequences)
