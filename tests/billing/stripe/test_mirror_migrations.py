"""dj-stripe's tables made by our one migration, beside those that its own migrations make."""

import re
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path
from typing import Any

import djstripe.migrations
import pytest
from django.conf import LazySettings
from django.conf import settings as settings_of_project
from django.core.management import call_command
from django.db import connection, migrations
from django.db.migrations.loader import MigrationLoader

from glyphforge.database import backup

MIRROR = "djstripe"
BUILD_ON_IT = ("approval", "audit", "billing", "database", "monitoring", "staff", "web")
TABLES = "djstripe_*"
INDEXES = Path(settings_of_project.BASE_DIR) / "billing" / "sql" / "indexes"


@pytest.fixture
def _fields_removed_together(monkeypatch: pytest.MonkeyPatch) -> None:
    """Django renders the models anew for each of 500 fields removed in a row; once takes a tenth of the time."""

    def apply(self: migrations.Migration, state: Any, editor: Any, collect_sql: bool = False) -> Any:
        for removed, operations in groupby(self.operations, lambda each: isinstance(each, migrations.RemoveField)):
            before = state.clone()
            vars(state).pop("apps", None)
            for operation in operations:
                before = before if removed else state.clone()
                operation.state_forwards(self.app_label, state)
                operation.database_forwards(self.app_label, editor, before, state)
        return state

    monkeypatch.setattr(migrations.Migration, "apply", apply)


def _schema(folder: Path) -> Iterator[str]:
    file = folder / "schema.sql"
    backup.run("pg_dump", "default", "--schema-only", f"--table={TABLES}", f"--file={file}")
    # A dump begins and ends with a key of its own.
    return (line for line in file.read_text().splitlines() if not line.startswith(("\\restrict", "\\unrestrict")))


@pytest.mark.slow
@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("_fields_removed_together")
def test_our_migration_and_those_of_dj_stripe_make_the_same_tables(settings: LazySettings, tmp_path: Path) -> None:
    with connection.cursor() as cursor:
        # What views, search and erasure need of the tables comes later, and is neither's.
        cursor.execute(
            "SELECT format('DROP VIEW IF EXISTS %I CASCADE', viewname) FROM pg_views WHERE schemaname = 'public'"
        )
        for (statement,) in cursor.fetchall():
            cursor.execute(statement)
        cursor.execute(
            "SELECT format('DROP TRIGGER %%I ON %%s', tgname, tgrelid::regclass) FROM pg_trigger"
            " WHERE NOT tgisinternal AND tgrelid::regclass::text LIKE %s",
            [f"{MIRROR}%"],
        )
        for (statement,) in cursor.fetchall():
            cursor.execute(statement)
        for path in INDEXES.glob(f"{MIRROR}_*.sql"):
            for name in re.findall(r"^CREATE INDEX (\w+)", path.read_text(), re.MULTILINE):
                cursor.execute(f"DROP INDEX {name}")
    ours = list(_schema(tmp_path))
    with connection.cursor() as cursor:
        tables = [name for name in connection.introspection.table_names(cursor) if name.startswith(TABLES[:-1])]
        cursor.execute(f"DROP TABLE {', '.join(tables)}")
        # With those that build on the tables, which have to come later.
        cursor.execute("DELETE FROM django_migrations WHERE app = ANY (%s)", [[MIRROR, *BUILD_ON_IT]])
    modules, settings.MIGRATION_MODULES = settings.MIGRATION_MODULES, {}
    call_command("migrate", MIRROR, verbosity=0)
    assert list(_schema(tmp_path)) == ours
    assert len(ours) > 1000

    # Who has the tables already has nothing to run.
    settings.MIGRATION_MODULES = modules
    call_command("migrate", MIRROR, verbosity=0)
    assert list(_schema(tmp_path)) == ours
    assert not [name for app, name in MigrationLoader(connection).graph.leaf_nodes(MIRROR) if "squashed" not in name]
    assert (MIRROR, "0001_squashed_0003_2_11") in MigrationLoader(connection).applied_migrations


def test_our_migration_stands_for_every_one_of_dj_stripe() -> None:
    theirs = {path.stem for path in Path(*djstripe.migrations.__path__).glob("0*.py")}
    ours = MigrationLoader(None).disk_migrations
    replaced = {name for (app, _), each in ours.items() if app == MIRROR for _, name in each.replaces}
    assert theirs == replaced, "write what the new release changes with `manage.py makemigrations djstripe`"
