"""Finding and repairing what went past the webhooks."""

import json
from datetime import timedelta
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone

from billing.models import (
    Difference,
    Payment,
    ReconciliationRun,
    Subscription,
    UnmatchedCustomer,
    User,
    WebhookEvent,
)
from billing.services import reconciliation
from billing.stripe.events import inbox
from billing.stripe.reconciliation import holder
from billing.stripe.reconciliation import run as engine
from billing.stripe.resync import resync
from demo.stripe import recordings
from demo.stripe.server import StripeServer
from demo.stripe.world import StripeWorld
from glyphforge.errors import Refused
from monitoring.models import JobRun
from tests.support import factories
from tests.support.expected import assert_reached

pytestmark = pytest.mark.django_db
WHO = {"actor": "ada", "reason": "routine"}
NAMES = ("signup_paid", "refund_partial", "dispute", "customer_deleted", "trial_to_paid")


@pytest.fixture
def streams(world: StripeWorld) -> list[recordings.Recording]:
    """Five histories at Stripe, their events of late; nothing arrived here."""
    streams = [recordings.load(name) for name in NAMES]
    for stream in streams:
        world.add(stream)
    now = int(timezone.now().timestamp())
    for event in world.events:
        event["created"] = now - 3600
    return streams


@pytest.fixture
def synced(streams: list[recordings.Recording]) -> list[recordings.Recording]:
    """The same, and everything arrived."""
    for stream in streams:
        for customer in stream.expected:
            resync(customer["stripe_customer_id"])
        for event in stream.events:
            inbox.store(event)
    WebhookEvent.objects.update(status="processed")
    return streams


def found(**wanted: Any) -> set[tuple[str, str, str | None, str | None]]:
    rows = Difference.objects.filter(**{"status": "open"} | wanted)
    return {(row.object_kind, row.field, row.local_value, row.stripe_value) for row in rows}


def test_events_that_never_arrived_are_ingested(streams: list[recordings.Recording], world: StripeWorld) -> None:
    run = reconciliation.run(**WHO)
    assert (run.status, run.missing_events) == ("finished", len(world.events))
    for stream in streams:
        assert_reached(stream.expected)
    assert found() == set()
    assert reconciliation.run(**WHO).missing_events == 0


def test_preview_ingests_nothing_and_changes_nothing(streams: list[recordings.Recording]) -> None:
    run = reconciliation.run(ingest=False, **WHO)
    assert run.missing_events > 0
    assert not WebhookEvent.objects.exists()
    assert not User.objects.exists()
    assert {kind for kind, *_ in found()} == {"event", "customer", "subscription", "charge"}


def test_without_events_comparing_finds_and_repairs_everything(
    streams: list[recordings.Recording], world: StripeWorld
) -> None:
    world.events.clear()
    assert reconciliation.run(**WHO).differences_found > 0
    assert not User.objects.exists()
    run = reconciliation.run(repair=True, **WHO)
    assert run.status == "finished"
    for stream in streams:
        if stream.name != "customer_deleted":  # Stripe's lists say nothing of a deleted customer
            assert_reached(stream.expected)
    reconciliation.run(**WHO)
    assert found() == set()


def test_agreement_is_reported_as_nothing(synced: list[recordings.Recording]) -> None:
    run = reconciliation.run(**WHO)
    assert (run.differences_found, run.missing_events) == (0, 0)
    assert run.compared > 0


def test_every_differing_field_is_one_row_until_it_is_repaired(synced: list[recordings.Recording]) -> None:
    subscription = Subscription.objects.get(stripe_subscription_id=_live_id("signup_paid"))
    Subscription.objects.filter(pk=subscription.pk).update(tier="professional", quantity=4)
    Payment.objects.filter(status="partially_refunded").update(refunded_cents=0, status="succeeded")
    User.objects.filter(pk=subscription.user_id).update(name="Somebody")
    for _ in range(2):
        reconciliation.run(**WHO)
        assert found() == {
            ("subscription", "tier", "professional", "starter"),
            ("subscription", "quantity", "4", "1"),
            ("charge", "refunded_cents", "0", "4000"),
            ("charge", "status", "succeeded", "partially_refunded"),
            ("customer", "name", "Somebody", "Mara Quill"),
        }
    assert set(Difference.objects.filter(object_kind="subscription").values_list("user_id", flat=True)) == {
        subscription.user_id
    }
    assert reconciliation.repair(Difference.objects.filter(object_kind="subscription"), **WHO) == 2
    reconciliation.run(**WHO)
    # One sync brings all of a customer in line: its name too.
    assert found() == {
        ("charge", "refunded_cents", "0", "4000"),
        ("charge", "status", "succeeded", "partially_refunded"),
    }
    assert Difference.objects.get(field="name").status == "gone"
    reconciliation.run(repair=True, **WHO)
    assert found() == set()
    for stream in synced:
        assert_reached(stream.expected)


def _live_id(name: str) -> str:
    return str(recordings.load(name).expected[0]["live_subscription"]["id"])


def test_customer_that_stripe_deleted_is_found_and_deleted(
    synced: list[recordings.Recording], world: StripeWorld
) -> None:
    user = Subscription.objects.get(stripe_subscription_id=_live_id("signup_paid")).user
    world.delete_customer(str(user.stripe_customer_id))
    world.events.clear()
    reconciliation.run(**WHO)
    assert ("customer", "status", "active", "deleted") in found()
    reconciliation.run(repair=True, **WHO)
    user.refresh_from_db()
    assert user.status == "deleted"
    assert not user.subscriptions.filter(status="active").exists()


def test_what_stripe_does_not_know_is_reported_and_left_alone(synced: list[recordings.Recording]) -> None:
    user = factories.customer(stripe_customer_id="cus_unknown")
    run = reconciliation.run(repair=True, **WHO)
    (difference,) = run.differences.filter(status="open")
    assert (difference.kind, difference.user, difference.note) == (
        "missing_at_stripe",
        user,
        "Stripe does not know it: decide by hand.",
    )
    user.refresh_from_db()
    assert user.status == "active"


def test_customer_without_a_live_row_gets_the_free_one(synced: list[recordings.Recording]) -> None:
    user = User.objects.get(stripe_customer_id=recordings.load("dispute").expected[0]["stripe_customer_id"])
    user.subscriptions.filter(tier="free").update(status="canceled")
    reconciliation.run(**WHO)
    assert found() == {("customer", "live_subscription", None, "free")}
    reconciliation.run(repair=True, **WHO)
    assert user.subscriptions.get(status="active").tier == "free"


def test_unmatched_customer_waits_for_support(streams: list[recordings.Recording], world: StripeWorld) -> None:
    world.events.clear()
    somebody = factories.customer(email=recordings.load("signup_paid").expected[0]["email"])
    run = reconciliation.run(repair=True, **WHO)
    waiting = UnmatchedCustomer.objects.get()
    assert waiting.email == somebody.email
    assert run.differences.filter(status="open", note__contains="Link it").exists()


def test_run_goes_on_where_its_budget_ended(
    streams: list[recordings.Recording], world: StripeWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("billing.stripe.gateway.PAGE_SIZE", 2)
    first = reconciliation.run(ingest=False, budget=3, **WHO)
    assert (first.status, first.requests) == ("paused", 3)
    runs = [first]
    while runs[-1].status == "paused":
        runs.append(reconciliation.run(ingest=False, budget=25, **WHO))
    assert {run.pk for run in runs} == {first.pk}
    assert runs[-1].status == "finished"
    customers = {item["id"] for item in world.objects.values() if item["object"] == "customer" and "email" in item}
    assert set(Difference.objects.filter(object_kind="customer").values_list("stripe_id", flat=True)) == customers


@pytest.mark.parametrize(("phase", "gone"), [("events", "evt"), ("customers", "cus")])
def test_run_goes_on_when_stripe_forgot_where_it_stopped(
    streams: list[recordings.Recording], world: StripeWorld, monkeypatch: pytest.MonkeyPatch, phase: str, gone: str
) -> None:
    monkeypatch.setattr("billing.stripe.gateway.PAGE_SIZE", 2)
    run = reconciliation.run(ingest=False, budget=1, **WHO)
    while not (run.phase == phase and run.position):
        run = reconciliation.run(ingest=False, budget=1, **WHO)
    assert str(run.position).startswith(gone)
    world.forget(str(run.position))
    world.events = [event for event in world.events if event["id"] != run.position]
    again = reconciliation.run(ingest=False, **WHO)
    assert (again.pk, again.status) == (run.pk, "finished")


def test_failing_stripe_fails_the_run_and_the_next_one_goes_on(
    streams: list[recordings.Recording], stripe_server: StripeServer
) -> None:
    stripe_server.intercept = lambda method, path: (
        (503, {"error": {"message": "maintenance"}}, {}) if path == "/v1/charges" else None
    )
    run = reconciliation.run(**WHO)
    assert (run.status, run.phase) == ("failed", "charges")
    assert "maintenance" in str(run.error)
    stripe_server.intercept = None
    again = reconciliation.run(**WHO)
    assert (again.pk, again.status, again.error) == (run.pk, "finished", None)


def test_two_runs_at_once_are_refused(world: StripeWorld) -> None:
    with holder.held():
        with pytest.raises(Refused, match="under way"):
            reconciliation.run(**WHO)
        call_command("run_job", "reconcile")
        assert JobRun.objects.get(job="reconcile").status == "skipped"
    assert reconciliation.run(**WHO).status == "finished"


def test_run_says_how_many_of_about_how_many_are_compared(
    synced: list[recordings.Recording], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("billing.stripe.gateway.PAGE_SIZE", 2)
    shown: list[tuple[int, int]] = []
    run = reconciliation.run(progress=lambda run: shown.append((run.compared, run.to_compare)), **WHO)
    done, of = zip(*shown, strict=True)
    assert list(done) == sorted(done)
    assert all(compared <= total for compared, total in shown)
    assert of[0] >= run.compared / 2
    assert done[-1] == of[-1] == run.compared == run.to_compare


def test_next_run_lists_events_from_where_the_last_one_started(
    synced: list[recordings.Recording], world: StripeWorld
) -> None:
    first = reconciliation.run(**WHO)
    second = reconciliation.run(**WHO)
    assert first.events_until - second.events_from == engine.OVERLAP
    assert timezone.now() - first.events_from < engine.EVENTS_KEPT + timedelta(minutes=1)


def test_command_previews_and_applies(synced: list[recordings.Recording], capsys: pytest.CaptureFixture[str]) -> None:
    Payment.objects.filter(status="partially_refunded").update(refunded_cents=0)
    call_command("reconcile_stripe")
    out = capsys.readouterr().out
    assert "refunded_cents" in out
    assert "1 differences, 0 repaired, 1 open" in out
    call_command("reconcile_stripe", apply=True)
    assert "1 repaired, 0 open" in capsys.readouterr().out
    factories.customer(stripe_customer_id="cus_unknown")
    call_command("reconcile_stripe", apply=True)
    assert "1 left: Stripe does not know it: decide by hand." in capsys.readouterr().out
    with pytest.raises(CommandError, match="--budget"):
        call_command("reconcile_stripe", budget=0)


def test_command_reports_as_json(synced: list[recordings.Recording], capsys: pytest.CaptureFixture[str]) -> None:
    Payment.objects.filter(status="partially_refunded").update(refunded_cents=0)
    call_command("reconcile_stripe", "--json")
    report = json.loads(capsys.readouterr().out)
    assert (report["status"], report["differences_found"], report["repaired"]) == ("finished", 1, 0)
    (difference,) = report["differences"]
    assert (difference["field"], difference["local_value"], difference["stripe_value"]) == (
        "refunded_cents",
        "0",
        "4000",
    )


def test_daily_job_ingests_and_reports_without_repairing(synced: list[recordings.Recording]) -> None:
    Payment.objects.filter(status="partially_refunded").update(refunded_cents=0)
    WebhookEvent.objects.filter(event_type="customer.created").delete()
    call_command("run_job", "reconcile")
    assert found() == {("charge", "refunded_cents", "0", "4000")}
    assert WebhookEvent.objects.filter(event_type="customer.created").count() == len(NAMES)


def test_dispute_that_was_won_unheard_of_is_found_and_repaired(
    synced: list[recordings.Recording], world: StripeWorld
) -> None:
    lost = next(item for item in world.objects.values() if item["object"] == "dispute")
    lost["status"] = "won"
    reconciliation.run(**WHO)
    assert found() == {("charge", "status", "disputed", "succeeded"), ("charge", "disputed_cents", "9900", "0")}
    assert reconciliation.run(repair=True, **WHO).repaired == 2
    reconciliation.run(**WHO)
    assert found() == set()
    assert Payment.objects.get(stripe_charge_id=lost["charge"]).status == "succeeded"


def test_discount_of_a_customer_that_was_given_unheard_of_is_found_and_repaired(
    synced: list[recordings.Recording], world: StripeWorld
) -> None:
    subscription = Subscription.objects.get(stripe_subscription_id=_live_id("signup_paid"))
    coupon = {"id": "HALF", "object": "coupon", "percent_off": 50, "amount_off": None, "duration": "forever"}
    world.put(coupon)
    world.objects[str(subscription.user.stripe_customer_id)]["discount"] = {
        "id": "di_1",
        "object": "discount",
        "source": {"coupon": "HALF", "type": "coupon"},
    }
    reconciliation.run(**WHO)
    assert found() == {("customer", "discount", None, "HALF")}
    reconciliation.run(repair=True, **WHO)
    reconciliation.run(**WHO)
    assert found() == set()
    subscription.refresh_from_db()
    assert subscription.price_cents == 1450


@pytest.mark.parametrize("trouble", ["price", "address"])
def test_what_waits_for_somebody_does_not_keep_the_rest_from_being_repaired(
    synced: list[recordings.Recording], world: StripeWorld, trouble: str
) -> None:
    user = Subscription.objects.get(stripe_subscription_id=_live_id("signup_paid")).user
    if trouble == "price":
        price = world.objects[_live_id("signup_paid")]["items"]["data"][0]["price"]
        price.update(id="price_new", metadata={}, lookup_key=None)
    else:
        factories.customer(email="taken@example.com")
        world.objects[str(user.stripe_customer_id)]["email"] = "taken@example.com"
    user.payments.update(status="failed")
    run = reconciliation.run(repair=True, **WHO)
    assert user.payments.get().status == "succeeded"
    waiting = run.differences.filter(status="open", note__isnull=False)
    assert {"price": "price_new", "address": "taken@example.com"}[trouble] in str(waiting.first().note)  # type: ignore[union-attr]


@pytest.mark.parametrize("error", [KeyboardInterrupt, ZeroDivisionError])
def test_interrupted_run_is_gone_on_with_at_once(
    streams: list[recordings.Recording], monkeypatch: pytest.MonkeyPatch, error: type[BaseException]
) -> None:
    def interrupt(*_: Any) -> None:
        raise error

    monkeypatch.setattr(engine._Work, "_objects_page", interrupt)
    with pytest.raises(error):
        reconciliation.run(**WHO)
    monkeypatch.undo()
    broken = ReconciliationRun.objects.get()
    assert (broken.status, broken.phase) == ("failed", "customers")
    assert error.__name__ in str(broken.error)
    again = reconciliation.run(**WHO)
    assert (again.pk, again.status) == (broken.pk, "finished")


def test_event_that_stripe_keeps_no_longer_does_not_stop_the_repairs(
    streams: list[recordings.Recording], world: StripeWorld
) -> None:
    reconciliation.run(ingest=False, **WHO)
    world.events.pop()
    differences = Difference.objects.filter(object_kind="event")
    assert reconciliation.repair(differences, **WHO) == differences.count() - 1
    assert "30 days" in str(Difference.objects.get(object_kind="event", status="open").note)


def test_run_that_ingests_and_repairs_keeps_about_to_its_budget(streams: list[recordings.Recording]) -> None:
    budget = 20
    passes = 1
    run = reconciliation.run(repair=True, budget=budget, **WHO)
    while run.status == "paused":
        assert run.requests <= run.request_budget + budget
        run, passes = reconciliation.run(repair=True, budget=budget, **WHO), passes + 1
    assert run.status == "finished"
    assert passes > 3
    for stream in streams:
        assert_reached(stream.expected)


def test_run_that_has_no_time_left_is_paused(streams: list[recordings.Recording]) -> None:
    assert reconciliation.run(seconds=0, **WHO).status == "paused"
    assert reconciliation.run(**WHO).status == "finished"
