"""Migrations written in SQL: one frozen file up, one down."""

from collections.abc import Sequence
from importlib.resources import files
from typing import Any

from django.db.migrations import RunSQL
from django.db.migrations.operations.base import Operation


class RunSQLFile(RunSQL):
    """Runs `<app>/sql/migrations/<name>.up.sql`, and `<name>.down.sql` when unapplied.

    `manage.py database freeze` writes the files; what they create may only be changed by a later migration. Today's
    definition of every object is kept beside them in `sql/tables`, `sql/indexes`, `sql/functions`, `sql/triggers` and
    `sql/views`. `app` is the app's package, `glyphforge.audit` for one.
    """

    def __init__(self, app: str, name: str, state_operations: Sequence[Operation] = ()) -> None:
        folder = files(app).joinpath("sql", "migrations")
        super().__init__(
            sql=folder.joinpath(f"{name}.up.sql").read_text(encoding="utf-8"),
            reverse_sql=folder.joinpath(f"{name}.down.sql").read_text(encoding="utf-8"),
            state_operations=list(state_operations),
        )
        self.app, self.name = app, name

    def deconstruct(self) -> tuple[str, list[Any], dict[str, Any]]:
        """How the migration's file writes it."""
        states = {"state_operations": self.state_operations} if self.state_operations else {}
        return self.__class__.__qualname__, [self.app, self.name], states

    def describe(self) -> str:
        """What `migrate` says it does."""
        return f"Run {self.name}.up.sql"
