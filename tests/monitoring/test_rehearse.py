"""Rehearsals by command and on the pages where the act is confirmed."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.test import Client

from billing.models import Difference, PlanPrice, WebhookEvent
from billing.stripe import gateway
from billing.stripe.errors import PermanentError
from demo.stripe.world import StripeWorld
from glyphforge.database.rehearsal import rehearse
from monitoring.models import HealthCheck
from tests.support import factories
from tests.support.admin_pages import page_of, row_page
from tests.support.all_rows import digest
from tests.support.event_stream import EventStream

pytestmark = pytest.mark.django_db


@pytest.fixture
def stream(world: StripeWorld) -> EventStream:
    """A customer who pays, and whose plan has changed at Stripe unseen."""
    stream = EventStream(world).signed_up()
    stream.subscription.update(status="past_due")
    return stream


@pytest.fixture
def event(stream: EventStream) -> WebhookEvent:
    return WebhookEvent.objects.get(event_type="customer.subscription.created")


@pytest.fixture
def difference(stream: EventStream) -> Difference:
    return Difference.objects.create(
        kind="differs",
        object_kind="subscription",
        stripe_id=stream.subscription["id"],
        stripe_customer_id=stream.customer["id"],
        field="status",
        local_value="active",
        stripe_value="past_due",
    )


def rehearsed(*arguments: object, capsys: pytest.CaptureFixture[str]) -> Any:
    before = digest()
    call_command("rehearse", *map(str, arguments), "--json")
    assert digest() == before
    return json.loads(capsys.readouterr().out)


def statuses(said: Any) -> list[Any]:
    return [row["columns"]["status"] for row in said["rows"] if row["table"] == "subscriptions"]


def test_event_by_command(event: WebhookEvent, capsys: pytest.CaptureFixture[str]) -> None:
    said = rehearsed("event", event.stripe_event_id, capsys=capsys)
    assert statuses(said) == [["active", "past_due"]]
    assert set(said["told"]) == {"MRR", "Alerts", "Messages"}


def test_repair_by_command(difference: Difference, capsys: pytest.CaptureFixture[str]) -> None:
    said = rehearsed("repair", difference.pk, capsys=capsys)
    assert said["said"] == "1 of 1 repaired."
    assert statuses(said) == [["active", "past_due"]]


def test_mapping_by_command(stream: EventStream, capsys: pytest.CaptureFixture[str]) -> None:
    said = rehearsed("price", stream.item["price"]["id"], "professional", capsys=capsys)
    tiers = [row["columns"]["tier"] for row in said["rows"] if row["table"] == "subscriptions"]
    assert tiers == [["starter", "professional"]]


def test_threshold_by_command(capsys: pytest.CaptureFixture[str]) -> None:
    said = rehearsed("threshold", "connections", "--warning-at", "never", "--critical-at", "70.5", capsys=capsys)
    (row,) = [row for row in said["rows"] if row["table"] == "health_checks"]
    assert row["columns"].keys() == {"warning_at", "critical_at", "updated_at"}
    assert row["columns"]["critical_at"][1] == 70.5


def test_command_reads_as_text(event: WebhookEvent, capsys: pytest.CaptureFixture[str]) -> None:
    call_command("rehearse", "event", event.stripe_event_id)
    lines = capsys.readouterr().out.splitlines()
    assert '    status: "active" -> "past_due"' in lines
    assert lines[-1] == "Nothing was changed."


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["event", "evt_none"], "Event evt_none cannot be replayed: none of that id is stored."),
        (["repair", "7"], "No open difference is numbered 7."),
        (["price", "price_1", "gold"], "There is no plan 'gold'"),
        (["threshold", "mood", "--enabled", "no"], "There is no check 'mood'"),
        (["threshold", "connections"], "Nothing would change"),
        (["threshold", "connections", "--warning-at", "NaN"], "'NaN' is no threshold"),
        (["threshold", "connections", "--warning-at", "-1"], "warning_at is -1: Must not be negative."),
        (["threshold", "connections", "--critical-at", "1"], "critical_at is 1: Must be at least as bad"),
    ],
)
def test_what_would_be_refused_is(arguments: list[str], problem: str) -> None:
    with pytest.raises(CommandError, match=problem):
        call_command("rehearse", *arguments)


def test_stripe_is_asked_and_never_told(world: StripeWorld, stream: EventStream) -> None:
    def act() -> None:
        gateway.modify("customer", stream.customer["id"], idempotency_key="k", name="Eve")

    with pytest.raises(PermanentError, match=r"Stripe is not asked to change customer .* in a rehearsal"):
        rehearse(act)
    assert stream.customer["name"] != "Eve"


def sent(client: Client, url: str, **values: str) -> Any:
    before = digest()
    response = client.post(url, {"rehearse": "yes", **values})
    after = digest()
    assert {table for table in before if before[table] != after[table]} <= {
        "django_session",
        "staff_sessions",
        "auth_user",
    }
    return response


def test_operations_are_rehearsed_beside_their_confirmation_without_a_reason(
    signed_in: Callable[[str], Client], event: WebhookEvent, difference: Difference, stream: EventStream
) -> None:
    lead = signed_in("billing_lead")
    lead.get("/admin/")
    for url, values, seen in (
        (row_page(event, "replay"), {}, "past_due"),
        (row_page(difference, "repair"), {}, "1 difference repaired."),
        (
            page_of(PlanPrice, "map_price_all"),
            {"stripe_price_id": stream.item["price"]["id"], "tier": "professional"},
            "professional",
        ),
    ):
        assert 'name="rehearse"' in lead.get(url).content.decode()
        response = sent(lead, url, **values)
        page = response.content.decode()
        assert "Rehearsed; nothing was done." in page
        assert seen in page
        assert "subscriptions: 1" in page
        assert 'name="confirmed"' in page


def test_operation_that_asks_stripe_to_change_something_is_not_rehearsed(
    signed_in: Callable[[str], Client], stream: EventStream
) -> None:
    lead = signed_in("billing_lead")
    url = row_page(stream.payment, "refund")
    assert 'name="rehearse"' not in lead.get(url).content.decode()
    assert "Rehearsed" not in sent(lead, url, reason="Ticket").content.decode()


def test_who_may_not_do_it_may_not_rehearse_it(signed_in: Callable[[str], Client], stream: EventStream) -> None:
    response = sent(signed_in("auditor"), page_of(PlanPrice, "map_price_all"))
    assert response.status_code == 403


def test_thresholds_are_rehearsed_and_saved_from_there(signed_in: Callable[[str], Client]) -> None:
    operator = signed_in("operator")
    check = HealthCheck.objects.get(pk="error_rate")
    url = row_page(check)
    factories.requests(None, 30, status_code=500)
    assert 'name="_rehearse"' in operator.get(url).content.decode()
    values = {"warning_at": "10", "critical_at": "20", "is_enabled": "on", "reason": "noisy"}
    response = operator.post(url, {"_rehearse": "yes", **values})
    page = response.content.decode()
    assert "Rehearsed; nothing was done." in page
    assert any(line.startswith("critical: customer") for line in response.context["rehearsal"].told["Alerts"])
    check.refresh_from_db()
    assert check.critical_at != 20
    operator.post(url, {"_save": "yes", **dict(response.context["sent"])})
    check.refresh_from_db()
    assert check.critical_at == 20


def test_thresholds_that_make_no_sense_are_not_rehearsed(signed_in: Callable[[str], Client]) -> None:
    values = {"warning_at": "10", "critical_at": "5", "is_enabled": "on", "reason": "noisy"}
    response = signed_in("operator").post(
        row_page(HealthCheck.objects.get(pk="error_rate")), {"_rehearse": "yes", **values}
    )
    assert "Must be at least as bad as the warning." in response.content.decode()
    assert (
        signed_in("auditor")
        .post(row_page(HealthCheck.objects.get(pk="error_rate")), {"_rehearse": "yes", **values})
        .status_code
        == 403
    )
