"""Fixtures of the whole suite: every test runs on the real migrations on a real PostgreSQL."""

from collections.abc import Iterator
from typing import Any

import pytest
from django.conf import settings
from django.core.cache import cache
from django.db import connections
from django.test import TransactionTestCase

from tests import database
from tests.waiting import wait_for_room


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Ahead of every fixture: with the database's begins the transaction in which now() stands still."""
    if item.get_closest_marker("one_day"):
        wait_for_room(86_400, 60)


@pytest.fixture(scope="session")
def django_db_setup(django_test_environment: None, django_db_blocker: Any) -> Iterator[None]:
    """One database per worker, copied from a template that is migrated once per state of the migrations."""
    with django_db_blocker.unblock():
        name = database.create_for()
    yield
    with django_db_blocker.unblock():
        database.drop(name)


@pytest.fixture(scope="session", autouse=True)
def _fresh_database_after_transactional_tests() -> None:
    """A flush would have to empty the append-only audit log and would lose the plans: copy the template again."""

    def restore(self: TransactionTestCase) -> None:
        database.create_for()

    TransactionTestCase._fixture_teardown = restore


@pytest.fixture(autouse=True)
def _empty_cache() -> None:
    """What a page of another test read a moment ago is not this one's, nor are allauth's limits of a process."""
    cache.clear()


def pytest_unconfigure(config: pytest.Config) -> None:
    """Stop the embedded cluster, once, when the last worker is done."""
    if not hasattr(config, "workerinput") and settings.TEST_SERVER:
        connections["default"].close()
        settings.TEST_SERVER.stop()
