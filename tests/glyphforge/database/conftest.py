"""A committed database of its own for what works on a whole database."""

from collections.abc import Iterator
from typing import Any

import pytest

from glyphforge.database.restore import other_database
from tests.support import bulk, database


@pytest.fixture(scope="module")
def alias(django_db_setup: None, django_db_blocker: Any) -> Iterator[str]:
    """The alias of a migrated database with a few customers, which the tests of a module share."""
    with (
        django_db_blocker.unblock(),
        database.copy(database.OPERATED),
        other_database(database.OPERATED, "default") as target,
    ):
        with target.cursor() as cursor:
            bulk.customers(cursor, 50)
            bulk.of_each_customer(cursor, "api_usage")
        yield target.alias


@pytest.fixture
def operated(alias: str, django_db_blocker: Any) -> Iterator[str]:
    """As `alias`, with access to the database for one test."""
    with django_db_blocker.unblock():
        yield alias


@pytest.fixture
def empty(operated: str) -> Iterator[str]:
    """The name of a database that does not exist, and does not afterwards."""
    name = f"test_glyphforge_restored_{database.WORKER}"
    database.drop(name)
    yield name
    database.drop(name)
