"""Fixtures of the whole suite: every test runs on the real migrations on a real PostgreSQL, Stripe is a local one."""

import math
import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import hypothesis
import pytest
from django.conf import LazySettings, settings
from django.core.cache import cache
from django.db import connections
from django.test import Client, TransactionTestCase

from billing.stripe import gateway
from demo.stripe.server import StripeServer
from demo.stripe.world import StripeWorld
from glyphforge.database import installation
from glyphforge.rows import Json
from tests.support import database, desired_state, event_stream, factories
from tests.support.waiting import wait_for_room

# Where nobody waits to look for the smallest example, a failure is told at once: shrinking takes minutes.
hypothesis.settings.register_profile(
    "ci",
    phases=[phase for phase in hypothesis.Phase if phase not in (hypothesis.Phase.shrink, hypothesis.Phase.explain)],
)
if os.environ.get("CI"):
    hypothesis.settings.load_profile("ci")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The files with the most slow tests come first, so that no worker is left with one when the others have ended."""
    slow = Counter(item.path for item in items if item.get_closest_marker("slow"))
    items.sort(key=lambda item: -slow[item.path])


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


@pytest.fixture(scope="session", autouse=True)
def _desired_state_built_once() -> Iterator[None]:
    with desired_state.remembered():
        yield


@pytest.fixture
def signed_in(db: None) -> Callable[[str], Client]:
    """Signs a new member of staff of the role in."""

    def sign_in(role: str) -> Client:
        client = Client()
        client.force_login(factories.staff(role))
        return client

    return sign_in


@pytest.fixture(scope="session")
def _shared_stripe() -> Iterator[StripeServer]:
    with StripeServer(StripeWorld()) as server:
        yield server


@pytest.fixture
def stripe_server(
    _shared_stripe: StripeServer, settings: LazySettings, monkeypatch: pytest.MonkeyPatch
) -> Iterator[StripeServer]:
    """A running local Stripe whose world is empty; what the test changes is forgotten afterwards."""
    _shared_stripe.world = StripeWorld()
    _shared_stripe.requests.clear()
    _shared_stripe.asked.clear()
    _shared_stripe.intercept = _shared_stripe.loses = None
    settings.STRIPE_API_HOST = _shared_stripe.url
    monkeypatch.setattr(gateway, "NETWORK_RETRIES", 0)  # stripe-python would sleep between them
    gateway.configure()
    yield _shared_stripe
    gateway.clear_cache()


@pytest.fixture
def world(stripe_server: StripeServer) -> StripeWorld:
    """The account behind `stripe_server`."""
    return stripe_server.world


@pytest.fixture
def feed() -> Callable[[Iterable[Json]], list[str | None]]:
    """Stores events in the inbox and processes each once, in the given order; returns their statuses."""
    return event_stream.feed


@pytest.fixture(autouse=True)
def _known_as_production() -> None:
    """Whether a page asks what its database is does not depend on the minute."""
    installation._believed_until["default", str(connections["default"].settings_dict["NAME"])] = math.inf


@pytest.fixture(autouse=True)
def _empty_cache() -> None:
    """What a page of another test read a moment ago is not this one's, nor are allauth's limits of a process."""
    cache.clear()


def pytest_unconfigure(config: pytest.Config) -> None:
    """Stop the embedded cluster, once, when the last worker is done."""
    if not hasattr(config, "workerinput") and settings.TEST_SERVER:
        connections["default"].close()
        settings.TEST_SERVER.stop()
