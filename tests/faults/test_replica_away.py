"""Without its replica no page is missing: what reads it reads the primary, and the watch says so."""

from collections.abc import Callable, Iterator

import pytest
from django.conf import LazySettings
from django.db import connections, router
from django.test import Client

from glyphforge import replica
from monitoring.alerts import measuring
from monitoring.models import UserGrowth
from tests.support import factories
from tests.support.admin_pages import page_of
from tests.support.sql import one
from tests.support.waiting import free_port

pytestmark = pytest.mark.django_db


@pytest.fixture
def replica_at(settings: LazySettings, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., None]]:
    """Says where the replica is: what it returns sets some of its address, else it is the test's own database."""
    monkeypatch.setattr(router, "routers", [replica.Router()])

    def be(**address: object) -> None:
        configuration = connections["default"].settings_dict | address
        settings.DATABASES = settings.DATABASES | {replica.ALIAS: configuration}
        monkeypatch.setitem(connections.settings, replica.ALIAS, configuration)
        if hasattr(connections._connections, replica.ALIAS):
            del connections[replica.ALIAS]
        monkeypatch.setattr(replica, "_believed_until", 0.0)

    yield be
    if hasattr(connections._connections, replica.ALIAS):
        del connections[replica.ALIAS]


def health() -> tuple[str, str]:
    measuring.measure()
    row = one("SELECT status, message FROM v_system_health WHERE check_name = 'replica_away'")
    return row["status"], row["message"]


def test_its_pages_read_the_primary_and_the_check_tells_until_the_remedy_is_carried_out(
    replica_at: Callable[..., None], signed_in: Callable[[str], Client]
) -> None:
    factories.customer(email="ada@example.com")
    lead = signed_in("billing_lead")
    replica_at(HOST="127.0.0.1", PORT=free_port())

    assert UserGrowth.objects.all().db == "default"
    assert lead.get(page_of(UserGrowth)).context["cl"].result_count == 1
    status, message = health()
    assert (status, message) == (
        "warning",
        "The replica of DATABASE_REPLICA_URL does not answer: its pages read the primary meanwhile.",
    )
    for path in ("/admin/", "/admin/monitoring/alert/"):
        assert lead.get(path).status_code == 200

    replica_at()  # DATABASE_REPLICA_URL corrected, and the web process restarted
    assert UserGrowth.objects.all().db == replica.ALIAS
    assert health() == ("ok", "The replica of DATABASE_REPLICA_URL answers.")


def test_it_is_tried_again_after_some_seconds_and_not_for_each_page(
    replica_at: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    replica_at()
    now, tried = [1000.0], []
    monkeypatch.setattr(replica.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(replica, "takes_a_connection", lambda alias: tried.append(alias) or len(tried) > 1)
    assert [replica.is_there() for _ in range(3)] == [False, False, False]
    now[0] += replica.BELIEVED_SECONDS
    assert [replica.is_there() for _ in range(3)] == [True, True, True]
    assert tried == [replica.ALIAS] * 2


def test_without_a_replica_there_is_nothing_to_measure() -> None:
    assert health() == ("ok", "DATABASE_REPLICA_URL is not set: every page reads the primary.")
