"""An account that has a past is taken over by its lists."""

import io
import re
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connection

from billing.models import Backfill, BackfillList, BackfillProblem, Payment, Subscription, UnmatchedCustomer, User
from billing.services import backfill
from billing.stripe import gateway, pace
from billing.stripe.backfill import lists
from billing.stripe.backfill import run as backfill_run
from billing.stripe.events import inbox, processing
from billing.stripe.reconciliation import holder
from demo.stripe import recordings
from demo.stripe.server import StripeServer
from demo.stripe.world import StripeWorld
from glyphforge.audit.models import AuditEntry
from monitoring.models import DailyMrr, MrrMovement
from tests.support import event_stream, factories
from tests.support.expected import assert_reached
from tests.support.sql import query, run, scalar

pytestmark = pytest.mark.django_db(transaction=True)
WHO = {"actor": "ada", "reason": "we move in", "rate": 1000.0}


@pytest.fixture
def account(world: StripeWorld) -> StripeWorld:
    """All recorded customers, none of whom is here."""
    for recording in recordings.load_all():
        world.add(recording)
    return world


def counts(done: backfill_run.Run) -> dict[str, tuple[int, int, int]]:
    """Of each list how many were listed, new and changed."""
    return {state.kind: (state.listed, state.added, state.changed) for state in done.lists}


def written_by(action: Callable[[], Any]) -> set[str]:
    """The tables that `action` writes."""
    found = set()

    def noting(execute: Callable, sql: Any, params: Any, many: bool, context: Any) -> Any:
        found.update(re.findall(r"(?:INSERT INTO|UPDATE|DELETE FROM) \"?(\w+)", str(sql)))
        return execute(sql, params, many, context)

    with connection.execute_wrapper(noting):
        action()
    return found


def tables() -> dict[str, list[Any]]:
    """Every row of the tables that a takeover could write to."""
    names = query(
        "SELECT tablename FROM pg_tables WHERE schemaname = 'public'"
        " AND tablename ~ '^(users|subscriptions|payment|stripe_|unmatched|mrr_|daily_|djstripe_|audit_log|django_q)'"
    )
    return {row["tablename"]: run(f"SELECT t::text FROM {row['tablename']} AS t ORDER BY 1") for row in names}


def test_every_customer_ends_as_by_the_events_and_nothing_is_asked_for_twice(
    account: StripeWorld, stripe_server: StripeServer
) -> None:
    before = tables()
    preview = backfill.run(**WHO)
    assert tables() == before

    done = backfill.run(apply=True, **WHO)
    assert (done.row.status, done.problems) == ("finished", {})
    assert counts(done) == counts(preview)
    assert counts(done)["customer"] == (39, 39, 0)
    for recording in recordings.load_all():
        assert_reached(recording.expected)
    # Of each list a page, in preview and in earnest, and once who owns the account.
    assert len(stripe_server.requests) == 2 * len(lists.LISTS) + 1

    second_run = written_by(lambda: backfill.run(apply=True, **WHO))
    # Of a subscription that ended what it owes would be deleted.
    assert second_run == {"stripe_backfills", "stripe_backfill_lists", "open_invoices"}
    second = Backfill.objects.latest("started_at")
    assert not second.lists.exclude(added=0, changed=0).exists()
    assert list(
        AuditEntry.objects.filter(action="backfill").values_list("actor", "reason", "row_id").order_by("id")
    ) == [("ada", "we move in", str(row.pk)) for row in Backfill.objects.order_by("started_at")]


def test_dates_ledger_and_growth_are_stripes(account: StripeWorld) -> None:
    """Also of a customer of whom an event came first, and was booked today."""
    event_stream.feed(recordings.load("signup_paid").events)
    assert MrrMovement.objects.get().origin == "change"
    backfill.run(apply=True, **WHO)
    for item in list(account.objects.values()):
        made = datetime.fromtimestamp(item["created"], tz=UTC) if item.get("created") else None
        if item["object"] == "customer" and not item.get("deleted"):
            assert User.objects.get(stripe_customer_id=item["id"]).created_at == made
        elif item["object"] == "subscription":
            assert Subscription.objects.get(stripe_subscription_id=item["id"]).created_at == made
        elif item["object"] == "charge" and item["status"] == "succeeded" and not item["disputed"]:
            assert Payment.objects.get(stripe_charge_id=item["id"]).paid_at == made
    first = User.objects.exclude(status="deleted").earliest("created_at").created_at
    assert scalar("SELECT min(month) FROM v_user_growth") == first.date().replace(day=1)
    assert set(MrrMovement.objects.values_list("origin", flat=True)) == {"history"}
    began = MrrMovement.objects.filter(kind="new").values_list("occurred_at", "subscription_id")
    assert dict(began) == {
        row.created_at if row.trial_end is None else max(row.created_at, row.trial_end): row.pk
        for row in Subscription.objects.filter(pk__in=[key for _, key in began])
    }
    assert run("SELECT reconcile_mrr()") == [(0,)]
    assert DailyMrr.objects.earliest("day").day == min(moment for moment, _ in began).date()
    sold = scalar("SELECT sum(mrr_cents) FROM paying_subscriptions")
    assert sum(DailyMrr.objects.filter(day=datetime.now(UTC).date()).values_list("end_cents", flat=True)) == sold


class KilledError(BaseException):
    """Stands in for SIGKILL: nothing of ours may catch it."""


@pytest.mark.parametrize("survived", [1, 60])
def test_killed_run_goes_on_behind_its_last_page(
    account: StripeWorld, stripe_server: StripeServer, monkeypatch: pytest.MonkeyPatch, survived: int
) -> None:
    monkeypatch.setattr(gateway, "PAGE_SIZE", 10)
    left = survived
    original = backfill_run.take_over

    def dying(*args: Any) -> Any:
        nonlocal left
        left -= 1
        outcome = original(*args)
        if left == 0:
            raise KilledError
        return outcome

    with monkeypatch.context() as patch:
        patch.setattr(backfill_run, "take_over", dying)
        with pytest.raises(KilledError):
            backfill.run(apply=True, **WHO)
    pages = len([text for text in stripe_server.requests if text != "GET /v1/account"])
    done = backfill.run(apply=True, **WHO)
    assert done.row.status == "finished"
    assert {kind: count[:2] for kind, count in counts(done).items()} == {
        "product": (3, 3), "price": (5, 5), "coupon": (0, 0), "customer": (39, 39), "subscription": (42, 42),
        "invoice": (85, 85), "charge": (93, 93), "dispute": (2, 2),
    }  # fmt: skip
    for recording in recordings.load_all():
        assert_reached(recording.expected)
    # Only the page that it died at was asked for twice.
    again = len([text for text in stripe_server.requests if text != "GET /v1/account"]) - pages
    assert pages + again == 1 + (1 + 1 + 1 + 4 + 5 + 9 + 10 + 1)
    assert AuditEntry.objects.filter(action="backfill").count() == 1


def test_object_at_the_position_may_be_gone(account: StripeWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gateway, "PAGE_SIZE", 10)
    state = BackfillList(kind="customer")
    source = next(source for source in lists.LISTS if source.kind == "customer")
    first, more = lists.page(source, state)
    assert more
    state.position, state.created_at = first[-1].item["id"], lists.oldest(first)
    expected = [each.item["id"] for each in lists.page(source, state)[0]]
    account.forget(state.position)
    assert [each.item["id"] for each in lists.page(source, state)[0]][: len(expected)] == expected


def test_what_changed_since_it_was_listed_is_asked_for_again(
    account: StripeWorld, stripe_server: StripeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A webhook that fetched later than the list was made is not overwritten by the list."""
    backfill.run(apply=True, **WHO)
    item = next(item for item in account.objects.values() if item.get("status") == "active" and item.get("items"))
    original = backfill_run.page

    def overtaken(source: lists.Source, state: BackfillList) -> Any:
        found = original(source, state)
        if source.kind == "subscription":
            item["cancel_at_period_end"], item["cancel_at"] = True, item["items"]["data"][0]["current_period_end"]
            event = account.emit("customer.subscription.updated", item)
            inbox.store(event)
            assert processing.process(event["id"]) == "processed"
        return found

    monkeypatch.setattr(backfill_run, "page", overtaken)
    stripe_server.requests.clear()
    backfill.run(apply=True, **WHO)
    assert Subscription.objects.get(stripe_subscription_id=item["id"]).cancel_at_period_end
    assert stripe_server.requests.count(f"GET /v1/subscriptions/{item['id']}") == 2


def test_odd_object_is_named_at_the_end_and_stops_nothing_else(account: StripeWorld) -> None:
    odd = [item for item in account.objects.values() if item["object"] == "subscription"][-1]
    odd["items"]["data"][0]["quantity"] = 10**30
    # Somebody here has the address of one of them.
    same = next(item for item in account.objects.values() if item["object"] == "customer" and item.get("email"))
    factories.customer(email=same["email"])
    output = io.StringIO()
    with pytest.raises(CommandError, match="2 left out; all else is ready"):
        call_command("backfill_stripe", rate=1000, stdout=output)
    assert not Backfill.objects.exists()
    with pytest.raises(CommandError, match="2 left out; all else is done"):
        call_command("backfill_stripe", apply=True, rate=1000, stdout=output)
    assert f"left out: subscription {odd['id']}: " in output.getvalue()
    assert f"left out: customer {same['id']}: " in output.getvalue()
    assert set(BackfillProblem.objects.values_list("stripe_id", flat=True)) == {odd["id"], same["id"]}
    assert UnmatchedCustomer.objects.get().stripe_customer_id == same["id"]
    for recording in recordings.load_all():
        others = [one for one in recording.expected if one["stripe_customer_id"] not in (odd["customer"], same["id"])]
        assert_reached(others)


def test_customers_that_are_deleted_are_known_by_what_they_left(
    account: StripeWorld, stripe_server: StripeServer
) -> None:
    gone = next(
        item for item in account.objects.values() if item["object"] == "charge" and item["status"] == "succeeded"
    )
    account.delete_customer(gone["customer"])
    done = backfill.run(apply=True, **WHO)
    assert not done.problems
    assert Payment.objects.get(stripe_charge_id=gone["id"]).user.status == User.Status.DELETED
    assert f"GET /v1/customers/{gone['customer']}" not in stripe_server.requests


def test_stripe_that_stays_away_is_waited_for_and_then_gone_on_with(
    account: StripeWorld, stripe_server: StripeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    pauses: list[float] = []
    monkeypatch.setattr(backfill_run.time, "sleep", pauses.append)
    stripe_server.intercept = lambda _, path: (
        (503, {"error": {"type": "api_error", "message": "busy"}}, {}) if path == "/v1/invoices" else None
    )
    with pytest.raises(CommandError, match="goes on where it stopped"):
        call_command("backfill_stripe", apply=True, rate=1000, stdout=io.StringIO())
    assert [pause for pause in pauses if pause >= 1] == [1, 2, 4, 8, 16]
    stripe_server.intercept = None
    stripe_server.requests.clear()
    call_command("backfill_stripe", apply=True, rate=1000, stdout=io.StringIO())
    assert stripe_server.requests == ["GET /v1/invoices", "GET /v1/charges", "GET /v1/disputes"]


def test_one_takeover_at_a_time(account: StripeWorld) -> None:
    with holder.held("takeover"), pytest.raises(CommandError, match="Another takeover is under way"):
        call_command("backfill_stripe", apply=True)
    assert not Backfill.objects.exists()


def test_begun_anew_instead_of_gone_on_with(
    account: StripeWorld, stripe_server: StripeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backfill_run, "take_over", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        backfill.run(apply=True, **WHO)
    assert Backfill.objects.get().error == "ZeroDivisionError: division by zero"
    monkeypatch.undo()
    gateway.configure()
    backfill.run(apply=True, anew=True, **WHO)
    assert list(Backfill.objects.order_by("started_at").values_list("status", "error")) == [
        ("finished", "Another one was begun."),
        ("finished", None),
    ]


def test_requests_keep_to_their_rate(account: StripeWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    clock, sent = 1000.0, []

    def sleep(seconds: float) -> None:
        nonlocal clock
        clock += seconds
        sent.append(clock)

    monkeypatch.setattr(pace.time, "sleep", sleep)
    monkeypatch.setattr(pace.time, "monotonic", lambda: clock)
    with pace.at_most(4):
        for _ in range(3):
            gateway.page("customer")
    gateway.page("customer")
    assert sent == [1000.0, 1000.25, 1000.5]
    with pytest.raises(CommandError, match="--rate: more than 0 and at most 1000 requests a second, not 0"):
        call_command("backfill_stripe", rate=0)
