"""A customer and their key, SQL as an operator types it, and databases in which work commits."""

from collections.abc import Iterator
from typing import Any

import pytest
from django.db import connection

from tests.support import database, factories, sql
from tests.support.sql import Run


@pytest.fixture
def run(db: None) -> Run:
    """Executes a statement inside the test's transaction and returns its rows."""
    return sql.run


@pytest.fixture
def this_month(run: Run) -> str:
    """The month of the transaction's now(), UTC, as a partition's name ends."""
    return run("SELECT to_char(now() AT TIME ZONE 'UTC', 'YYYY\"_\"MM')")[0][0]


@pytest.fixture
def user(db: None) -> str:
    """The id of a customer."""
    return str(factories.customer(email="ada@example.com", name="Ada").pk)


@pytest.fixture
def key(user: str) -> str:
    """The id of a key of that customer."""
    return str(factories.api_key(user).pk)


@pytest.fixture
def conninfo(django_db_setup: None, django_db_blocker: Any) -> Iterator[str]:
    """A database of the test's own."""
    with django_db_blocker.unblock(), database.copy(f"{connection.settings_dict['NAME']}_live") as conninfo:
        yield conninfo


@pytest.fixture(scope="module")
def shared(django_db_setup: None, django_db_blocker: Any) -> Iterator[str]:
    """One for the tests that look at the rows that they made and at no others."""
    with django_db_blocker.unblock(), database.copy(f"{connection.settings_dict['NAME']}_shared") as conninfo:
        yield conninfo
