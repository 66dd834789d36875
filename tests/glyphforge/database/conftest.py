"""A committed database of its own for what works on a whole database."""

from collections.abc import Iterator
from typing import Any

import pytest
from django.db import connections
from psycopg import sql

from glyphforge.database.restore import other_database
from tests import database

NAME = f"test_glyphforge_operated_{database.WORKER}"


@pytest.fixture(scope="module")
def alias(django_db_setup: None, django_db_blocker: Any) -> Iterator[str]:
    """The alias of a migrated database with a few customers, which the tests of a module share."""
    with django_db_blocker.unblock():
        drop = sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(NAME))
        copy = sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(
            sql.Identifier(NAME), sql.Identifier(database.template())
        )
        with connections["default"].cursor() as cursor:
            cursor.execute(drop)
            cursor.execute(copy)
        with other_database(NAME, "default") as target:
            with target.cursor() as cursor:
                cursor.execute(
                    "INSERT INTO users (email) SELECT format('c%s@example.com', n) FROM generate_series(1, 50) n"
                )
                cursor.execute(
                    "INSERT INTO api_usage (user_id, endpoint, method, status_code, response_time_ms, created_at)"
                    " SELECT id, '/v1', 'GET', 200, 5, now() FROM users"
                )
            yield target.alias
        with connections["default"].cursor() as cursor:
            cursor.execute(drop)


@pytest.fixture
def operated(alias: str, django_db_blocker: Any) -> Iterator[str]:
    """As `alias`, with access to the database for one test."""
    with django_db_blocker.unblock():
        yield alias


@pytest.fixture
def empty(operated: str) -> Iterator[str]:
    """The name of a database that does not exist, and does not afterwards."""
    name = f"test_glyphforge_restored_{database.WORKER}"
    drop = sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name))
    with connections["default"].cursor() as cursor:
        cursor.execute(drop)
    yield name
    with connections["default"].cursor() as cursor:
        cursor.execute(drop)
