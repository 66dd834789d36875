"""A backup of the data alone comes back exactly, into a database that was only migrated, or not at all."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.db import connections
from psycopg import sql

from glyphforge.database import backup, manifest, restore
from glyphforge.database.connection import DatabaseError
from tests.support import database

ROLE = f"test_loader_{database.WORKER}"


@pytest.fixture(scope="module")
def dump(alias: str, django_db_blocker: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The data of a database with requests of a month that no new database has, folded in part, and a payment."""
    with django_db_blocker.unblock():
        with connections[alias].cursor() as cursor:
            cursor.execute("SELECT create_monthly_partition('api_usage', '2001-05-01')")
            for moment in ("2001-05-05", "2002-03-03"):
                cursor.execute(
                    "INSERT INTO api_usage (user_id, endpoint, method, status_code, response_time_ms, created_at)"
                    " SELECT id, '/v1\\\t字', 'GET', 500, 7, %s FROM users",
                    [moment],
                )
                cursor.execute("SELECT roll_up_usage()")
            cursor.execute("UPDATE plans SET price_cents = 1 WHERE tier = 'starter'")
            cursor.execute("UPDATE subscriptions SET tier = 'starter', price_cents = 5 WHERE tier = 'free'")
            cursor.execute("UPDATE users SET name = E'two\\nlines\\\\.' WHERE email LIKE '%1@%'")
        return backup.take(tmp_path_factory.mktemp("data") / "data.dump", content="data", alias=alias)[0]


@pytest.fixture
def migrated(operated: str) -> Iterator[str]:
    """The name of a database that was only migrated."""
    name = f"test_glyphforge_loaded_{database.WORKER}"
    with database.copy(name):
        yield name


def contents(alias: str) -> dict[str, Any]:
    """Of each table a hash of its rows, of each sequence its value, and what the summaries say."""
    with connections[alias].cursor() as cursor:
        cursor.execute(
            "SELECT relname, relkind FROM pg_class WHERE relnamespace = 'public'::regnamespace"
            " AND relkind IN ('r', 'S') AND relname <> 'backup_runs'"
        )
        found: dict[str, Any] = {}
        for name, kind in cursor.fetchall():
            columns = "last_value, is_called" if kind == "S" else "md5(string_agg(t::text, ',' ORDER BY t::text))"
            cursor.execute(sql.SQL(f"SELECT {columns} FROM {{}} AS t").format(sql.Identifier(name)))
            found[name] = cursor.fetchone()
        for view in ("monthly_usage_summary", "v_api_usage_trends"):
            cursor.execute(f"SELECT md5(string_agg(v::text, ',' ORDER BY v::text)) FROM {view} AS v")
            found[view] = cursor.fetchone()
    return found


def test_data_comes_back_exactly(operated: str, dump: Path, migrated: str) -> None:
    restore.restore(dump, into=migrated, alias=operated)
    with restore.other_database(migrated, operated) as target:
        assert contents(target.alias) == contents(operated)
        with target.cursor() as cursor:  # triggers are on again
            cursor.execute("INSERT INTO users (email) VALUES ('new@example.com')")
            cursor.execute("SELECT count(*) FROM subscriptions")
            assert cursor.fetchone() == (51,)


def test_data_comes_back_into_a_schema_that_was_restored(operated: str, dump: Path, empty: str, tmp_path: Path) -> None:
    schema, _ = backup.take(tmp_path / "schema.dump", content="schema", alias=operated)
    restore.restore(schema, into=empty, alias=operated)
    restore.restore(dump, into=empty, alias=operated)
    with restore.other_database(empty, operated) as target:
        assert contents(target.alias) == contents(operated)


def test_database_in_use_is_left_alone(operated: str, dump: Path) -> None:
    before = contents(operated)
    with pytest.raises(DatabaseError, match="holds rows already, in api_usage_"):
        restore.restore(dump, alias=operated)
    assert contents(operated) == before


def test_database_of_another_migration_is_left_alone(operated: str, dump: Path, migrated: str) -> None:
    with restore.other_database(migrated, operated) as target:
        with target.cursor() as cursor:
            cursor.execute("DELETE FROM django_migrations WHERE app = 'billing'")
        with pytest.raises(DatabaseError, match="is migrated to billing None, the backup was at 0"):
            restore.restore(dump, into=migrated, alias=operated)
        with target.cursor() as cursor:
            cursor.execute("DROP TABLE read_log")
        with pytest.raises(DatabaseError, match=r"has no table read_log: run manage\.py migrate there first"):
            restore.restore(dump, into=migrated, alias=operated)


def test_role_that_may_not_switch_triggers_off_changes_nothing(
    operated: str, dump: Path, migrated: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with restore.other_database(migrated, operated) as target:
        with target.cursor() as cursor:
            cursor.execute(f"DROP ROLE IF EXISTS {ROLE}")
            cursor.execute(f"CREATE ROLE {ROLE} LOGIN PASSWORD 'x'")
        before = contents(target.alias)
        monkeypatch.setitem(connections[operated].settings_dict, "USER", ROLE)
        monkeypatch.setitem(connections[operated].settings_dict, "PASSWORD", "x")
        with pytest.raises(DatabaseError, match=f"{ROLE} may not switch triggers off.*GRANT SET ON PARAMETER"):
            restore.restore(dump, into=migrated, alias=operated)
        assert contents(target.alias) == before
        with target.cursor() as cursor:
            cursor.execute(f"DROP ROLE {ROLE}")


def test_load_that_fails_leaves_what_migrate_made(operated: str, dump: Path, migrated: str, tmp_path: Path) -> None:
    path = tmp_path / "copy.dump"
    path.write_bytes(dump.read_bytes())
    text = manifest.path_for(dump).read_text()
    manifest.path_for(path).write_text(text.replace('"users": 50', '"users": 51'))
    with restore.other_database(migrated, operated) as target:
        before = contents(target.alias)
        with pytest.raises(DatabaseError, match="users has 50 of 51"):
            restore.restore(path, into=migrated, alias=operated)
        assert contents(target.alias) == before
