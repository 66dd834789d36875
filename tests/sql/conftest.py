"""SQL as an operator types it: statements in, rows out, on Django's connection inside the test's transaction."""

from collections.abc import Callable
from typing import Any

import pytest
from django.db import connection

Run = Callable[..., list[tuple[Any, ...]]]


@pytest.fixture
def run(db: None) -> Run:
    """Executes a statement and returns its rows, an empty list when it has none."""

    def execute(statement: str, *parameters: object) -> list[tuple[Any, ...]]:
        with connection.cursor() as cursor:
            cursor.execute(statement, parameters or None)
            return cursor.fetchall() if cursor.description else []

    return execute


@pytest.fixture
def this_month(run: Run) -> str:
    """The month of the transaction's now(), UTC, as a partition's name ends."""
    return run("SELECT to_char(now() AT TIME ZONE 'UTC', 'YYYY\"_\"MM')")[0][0]


@pytest.fixture
def user(run: Run) -> str:
    """The id of a customer."""
    return run("INSERT INTO users (email, name) VALUES ('ada@example.com', 'Ada') RETURNING id::text")[0][0]


@pytest.fixture
def key(run: Run, user: str) -> str:
    """The id of a key of that customer."""
    return run(
        "INSERT INTO api_keys (user_id, key_prefix, key_hash)"
        " VALUES (%s, 'glyph_sk_dev_ada1', '$2b$12$x') RETURNING id::text",
        user,
    )[0][0]
