"""A customer and their key, and SQL as an operator types it."""

import pytest

from tests.support import factories, sql
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
