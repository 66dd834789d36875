"""Migrations written in SQL: one frozen file up, one down."""

from collections.abc import Sequence
from importlib.resources import files

from django.db.migrations import RunSQL
from django.db.migrations.operations.base import Operation


class RunSQLFile(RunSQL):
    """Runs `<app>/sql/migrations/<name>.up.sql`, and `<name>.down.sql` when unapplied.

    The files are frozen once landed: what they create may only be changed by a later migration. Today's definition of
    every object is kept beside them in `sql/tables`, `sql/indexes`, `sql/functions`, `sql/triggers` and
    `sql/views`.
    """

    def __init__(self, app: str, name: str, state_operations: Sequence[Operation] = ()) -> None:
        folder = files(app).joinpath("sql", "migrations")
        super().__init__(
            sql=folder.joinpath(f"{name}.up.sql").read_text(encoding="utf-8"),
            reverse_sql=folder.joinpath(f"{name}.down.sql").read_text(encoding="utf-8"),
            state_operations=list(state_operations),
        )
        self.name = name

    def describe(self) -> str:
        return f"Run {self.name}.up.sql"
