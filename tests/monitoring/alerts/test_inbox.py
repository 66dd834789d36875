"""The inbox and what staff do there."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.db import DatabaseError, connection, transaction
from django.test import Client
from django.utils import timezone

from glyphforge.audit.models import AuditEntry
from glyphforge.errors import Refused
from monitoring.alerts import triage
from monitoring.models import Alert
from tests.support.factories import alert

pytestmark = pytest.mark.django_db
INBOX = "/admin/monitoring/alert/"


def test_inbox_shows_what_is_open_the_worst_first(
    signed_in: Callable[[str], Client], django_assert_max_num_queries: Any
) -> None:
    alert(object_id="a", severity="warning")
    alert(object_id="b", state="acknowledged", acknowledged_at=timezone.now(), acknowledged_by="grace")
    alert(object_id="c")
    alert(object_id="d", state="pending")
    alert(object_id="e", state="resolved", resolved_at=timezone.now())
    browser = signed_in("support")
    with django_assert_max_num_queries(15):
        response = browser.get(INBOX)
    assert [row.object_id for row in response.context["cl"].result_list] == ["c", "a", "b"]
    assert len(browser.get(f"{INBOX}?state=all").context["cl"].result_list) == 5
    assert [row.object_id for row in browser.get(f"{INBOX}?state=resolved").context["cl"].result_list] == ["e"]


def test_alert_leads_to_the_fix_and_shows_its_messages(signed_in: Callable[[str], Client]) -> None:
    row = alert(object_id="evt_1")
    row.notifications.create(channel="slack", kind="opened", severity="critical", attempts=3, last_error="no route")
    page = signed_in("support").get(f"{INBOX}{row.pk}/change/").text
    assert "/admin/billing/webhookevent/?q=evt_1" in page
    assert "Map the price, then retry." in page
    assert "3 attempts: no route" in page


@pytest.mark.parametrize(
    ("operation", "values", "state"),
    [("acknowledge", {}, "acknowledged"), ("snooze", {"hours": "24"}, "snoozed")],
)
def test_operation_asks_first_then_acts_and_is_audited(
    signed_in: Callable[[str], Client], operation: str, values: dict[str, str], state: str
) -> None:
    row = alert()
    browser = signed_in("support")
    address = f"{INBOX}{row.pk}/do/{operation}/"
    assert "1 alert" in browser.get(address).text
    browser.post(address, {"reason": "On it", **values})
    row.refresh_from_db()
    assert row.state == "firing"

    browser.post(address, {"reason": "On it", "confirmed": "1", **values}, follow=True)
    row.refresh_from_db()
    assert (row.state, row.note) == (state, "On it")
    entry = AuditEntry.objects.get(table_name="alerts")
    assert (entry.action, entry.row_id, entry.reason) == (operation, str(row.pk), "On it")
    assert entry.actor == (row.acknowledged_by or row.snoozed_by)

    browser.post(f"{INBOX}{row.pk}/do/reopen/", {"reason": "Not mine", "confirmed": "1"})
    row.refresh_from_db()
    assert (row.state, row.acknowledged_by, row.snoozed_until) == ("firing", None, None)


def test_auditor_may_look_but_not_touch(signed_in: Callable[[str], Client]) -> None:
    row = alert()
    browser = signed_in("auditor")
    assert browser.get(INBOX).status_code == 200
    for operation in ("acknowledge", "snooze", "reopen"):
        answer = browser.post(f"{INBOX}{row.pk}/do/{operation}/", {"reason": "On it", "confirmed": "1", "hours": "1"})
        assert answer.status_code == 403
    row.refresh_from_db()
    assert row.state == "firing"


@pytest.mark.parametrize("state", ["pending", "resolved"])
def test_nothing_open_nothing_to_handle(state: str) -> None:
    row = alert(state=state, resolved_at=timezone.now() if state == "resolved" else None)
    with pytest.raises(Refused, match="the alert has changed in the meantime"):
        triage.acknowledge([row.pk], actor="grace", note="On it")


@pytest.mark.parametrize("hours", [-1, 24 * 31])
def test_snooze_is_for_the_near_future(hours: int) -> None:
    until = timezone.now() + timedelta(hours=hours)
    with pytest.raises(Refused, match="within the next 30 days"):
        triage.snooze([alert().pk], until=until, actor="grace", note="Later")


def test_note_is_not_optional() -> None:
    with pytest.raises(Refused, match="the note is empty"):
        triage.acknowledge([alert().pk], actor="grace", note="  ")


class TestCleanup:
    def test_old_resolved_alerts_go_with_their_messages(self) -> None:
        old = alert(object_id="a", state="resolved", resolved_at=timezone.now() - timedelta(days=181))
        old.notifications.create(channel="slack", kind="opened", severity="critical")
        alert(object_id="b", state="resolved", resolved_at=timezone.now() - timedelta(days=179))
        alert(object_id="c")
        with connection.cursor() as cursor:
            cursor.execute("SELECT cleanup_alerts()")
            assert cursor.fetchone() == (1,)
        assert sorted(Alert.objects.values_list("object_id", flat=True)) == ["b", "c"]

    @pytest.mark.parametrize("days", [0, None])
    def test_less_than_a_day_is_refused(self, days: int | None) -> None:
        with (
            pytest.raises(DatabaseError, match="cleanup_alerts: days must be at least 1"),
            transaction.atomic(),
            connection.cursor() as cursor,
        ):
            cursor.execute("SELECT cleanup_alerts(%s)", [days])
