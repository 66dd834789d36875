"""What becomes of an event whose processing fails, and that nothing else fails with it."""

import re
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.conf import LazySettings
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from billing.models import UnmatchedCustomer, User, WebhookEvent
from billing.stripe import gateway
from billing.stripe.errors import MissingError
from billing.stripe.events import claims, inbox, processing
from demo.stripe import recordings
from demo.stripe.server import StripeServer
from demo.stripe.world import StripeWorld
from glyphforge.audit.models import AuditEntry
from glyphforge.rows import Json
from tests.support import factories
from tests.support.database import session
from tests.support.event_stream import EventStream
from tests.support.expected import assert_reached

pytestmark = pytest.mark.django_db


@pytest.fixture
def signup(world: StripeWorld) -> recordings.Recording:
    recording = recordings.load("signup_paid")
    world.add(recording)
    return recording


def stored(event: Json) -> WebhookEvent:
    return WebhookEvent.objects.get(stripe_event_id=event["id"])


def wait(event: Json) -> timedelta:
    due = stored(event).next_retry_at
    assert due
    return due - timezone.now()


def answer(status: int, headers: dict[str, str] | None = None, **error: Any) -> Callable[[str, str], Any]:
    body = {"error": {"type": "api_error", "message": "no", **error}}
    return lambda method, path: None if path == "/v1/account" else (status, body, headers or {})


@pytest.mark.parametrize(
    ("status", "said"),
    [(429, "rate limiting"), (500, "did not answer"), (503, "did not answer"), (401, "refused the API key")],
)
def test_busy_or_broken_stripe_is_asked_again_in_a_minute(
    signup: recordings.Recording, stripe_server: StripeServer, feed: Callable, status: int, said: str
) -> None:
    stripe_server.intercept = answer(status)
    event = signup.events[-1]
    assert feed([event]) == ["failed"]
    assert said in str(stored(event).last_error)
    assert timedelta(seconds=30) < wait(event) < timedelta(minutes=2)


def test_what_others_errors_say_is_kept_without_secrets(db: None) -> None:
    event = factories.webhook_event()
    assert claims.claim(event.stripe_event_id)
    assert claims.complete(event.stripe_event_id, "No such key: sk_test_PLANTED0123456789")
    event.refresh_from_db()
    assert event.last_error == "No such key: [masked]"


@pytest.mark.parametrize("object_id", ["..", ".", "", " ."])
def test_id_that_is_a_place_is_asked_for_nowhere(stripe_server: StripeServer, object_id: str) -> None:
    with pytest.raises(MissingError, match="no id of Stripe's"):
        gateway.retrieve("subscription", object_id)
    assert not stripe_server.requests


def test_the_pause_that_stripe_asks_for_is_respected(
    signup: recordings.Recording, stripe_server: StripeServer, feed: Callable
) -> None:
    stripe_server.intercept = answer(429, {"Retry-After": "1200"})
    feed(signup.events[-1:])
    assert timedelta(minutes=19) < wait(signup.events[-1]) <= timedelta(minutes=20)


@pytest.mark.parametrize("pause", ["inf", "nan", "1e300", "-5", "Wed, 21 Oct 2015 07:28:00 GMT", "9" * 400])
def test_senseless_pause_still_ends_in_another_try(
    signup: recordings.Recording, stripe_server: StripeServer, feed: Callable, pause: str
) -> None:
    stripe_server.intercept = answer(429, {"Retry-After": pause})
    assert feed(signup.events[-1:]) == ["failed"]
    assert wait(signup.events[-1]) <= timedelta(days=1)


def test_failed_event_succeeds_when_stripe_is_back(
    signup: recordings.Recording, stripe_server: StripeServer, feed: Callable
) -> None:
    stripe_server.intercept = answer(503)
    assert set(feed(signup.events)) == {"failed"}
    assert not User.objects.exists()
    stripe_server.intercept = None
    WebhookEvent.objects.update(next_retry_at=timezone.now())
    assert {processing.process(event["id"]) for event in signup.events} == {"processed"}
    assert_reached(signup.expected)


def test_event_is_dead_after_eight_attempts(
    signup: recordings.Recording, stripe_server: StripeServer, feed: Callable
) -> None:
    stripe_server.intercept = answer(500)
    event = signup.events[-1]
    seen = feed([event])
    for _ in range(8):
        WebhookEvent.objects.update(next_retry_at=timezone.now())
        seen.append(processing.process(event["id"]))
    assert seen == ["failed"] * 7 + ["dead", None]
    assert stored(event).attempts == 8


def test_object_that_stripe_does_not_know_parks_the_event(
    signup: recordings.Recording, world: StripeWorld, feed: Callable
) -> None:
    event = signup.events[-1]
    world.forget(event["data"]["object"]["customer"])
    world.forget(event["data"]["object"]["id"])
    assert feed([event]) == ["failed"]
    assert "Stripe does not know subscription" in str(stored(event).last_error)
    assert wait(event) > timedelta(hours=23)


def test_customer_that_stripe_no_longer_knows_parks_the_event_and_touches_nobody(
    signup: recordings.Recording, world: StripeWorld, feed: Callable
) -> None:
    feed(signup.events)
    event = next(event for event in signup.events if event["type"] == "customer.created")
    world.forget(event["data"]["object"]["id"])
    late = event | {"id": "evt_late"}
    assert feed([late]) == ["failed"]
    assert "Stripe does not know customer" in str(stored(late).last_error)
    assert_reached(signup.expected)


@pytest.mark.parametrize("data", [None, {}, {"object": None}, {"object": {}}, {"object": {"object": "charge"}}])
def test_event_without_an_object_parks(feed: Callable, signup: recordings.Recording, data: Any) -> None:
    event = signup.events[-1] | {"id": "evt_hollow", "data": data}
    assert feed([event]) == ["failed"]
    assert "The event" in str(stored(event).last_error)


def test_event_that_always_fails_does_not_stop_the_others(
    signup: recordings.Recording, feed: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    poison = signup.events[-2] | {"id": "evt_poison", "type": "customer.subscription.updated"}
    poison["data"] = {"object": {"id": "sub_poison", "object": "subscription", "customer": {"id": ["x"]}}}
    assert feed([poison, *signup.events]) == ["failed"] + ["processed"] * len(signup.events)
    assert_reached(signup.expected)


def test_unforeseen_error_is_written_to_the_event(
    signup: recordings.Recording, feed: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any) -> None:
        raise ZeroDivisionError("by nothing")

    monkeypatch.setattr(processing, "handle", fail)
    assert feed(signup.events[-1:]) == ["failed"]
    assert stored(signup.events[-1]).last_error == "ZeroDivisionError: by nothing"


def test_customer_is_never_linked_by_address_alone(signup: recordings.Recording, feed: Callable) -> None:
    somebody = factories.customer(email=str(signup.expected[0]["email"]).upper())
    event = signup.events[-1]
    assert feed([event]) == ["failed"]
    somebody.refresh_from_db()
    assert somebody.stripe_customer_id is None
    assert "Link it to a customer" in str(stored(event).last_error)
    waiting = UnmatchedCustomer.objects.get()
    assert waiting.stripe_customer_id == signup.expected[0]["stripe_customer_id"]


@pytest.mark.parametrize("key", ["user_id", "cognito_user_id"])
def test_customer_is_linked_by_the_user_id_in_its_metadata(
    signup: recordings.Recording, world: StripeWorld, feed: Callable, key: str
) -> None:
    customer_id = signup.expected[0]["stripe_customer_id"]
    somebody = factories.customer(email="old@example.com", cognito_user_id="sub-1")
    value = {"user_id": str(somebody.pk), "cognito_user_id": "sub-1"}[key]
    world.objects[customer_id]["metadata"] = {key: value}
    assert set(feed(signup.events)) == {"processed"}
    somebody.refresh_from_db()
    assert somebody.stripe_customer_id == customer_id
    assert_reached(signup.expected)


@pytest.mark.parametrize(("pool", "address"), [("", "new@example.com"), ("pool-1", "old@example.com")])
def test_synced_user_pool_owns_the_address(world: StripeWorld, settings: LazySettings, pool: str, address: str) -> None:
    settings.COGNITO_USER_POOL_ID = pool
    stream = EventStream(world)
    somebody = factories.customer(email="old@example.com", cognito_user_id="sub-1")
    stream.customer |= {"metadata": {"cognito_user_id": "sub-1"}, "email": "new@example.com", "name": "From Stripe"}
    stream.signed_up()
    somebody.refresh_from_db()
    assert (somebody.email, somebody.name) == (address, "From Stripe")


def test_event_of_another_account_is_ignored(signup: recordings.Recording, feed: Callable) -> None:
    event = signup.events[-1] | {"account": "acct_somebody_else"}
    assert feed([event]) == ["ignored"]
    assert "acct_somebody_else" in str(stored(event).last_error)
    assert not User.objects.exists()


@pytest.mark.parametrize("version", ["2019-12-03", "2027-01-01.future", None])
def test_event_of_another_api_version_ends_in_the_same_rows(
    signup: recordings.Recording, feed: Callable, version: str | None
) -> None:
    """The payload names the object and nothing more; the object is fetched in the pinned version."""
    thin = []
    for event in signup.events:
        item = event["data"]["object"]
        named = {name: item[name] for name in ("id", "object", "customer") if name in item}
        thin.append(event | {"api_version": version, "data": {"object": named}})
    assert set(feed(thin)) == {"processed"}
    assert_reached(signup.expected)


def test_customers_lock_is_held_while_stripe_is_asked(
    signup: recordings.Recording, stripe_server: StripeServer, feed: Callable
) -> None:
    held: dict[str, int] = {}
    customer_id = signup.expected[0]["stripe_customer_id"]
    with session(autocommit=True) as other:

        def look(method: str, path: str) -> None:
            row = other.execute(
                "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND granted"
                # Tests beside this one process the same customer in other databases of the server.
                " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
                " AND (classid::bigint << 32) | objid::bigint = hashtextextended('stripe:' || %s, 0)",
                [customer_id],
            ).fetchone()
            held[path] = row[0] if row else 0

        stripe_server.intercept = look
        assert feed(signup.events[-1:]) == ["processed"]
    assert any(path.startswith("/v1/subscriptions/") for path in held)
    assert set(held.values()) == {1}


def test_second_worker_gets_nothing(signup: recordings.Recording, feed: Callable) -> None:
    feed(signup.events[-1:])
    assert processing.process(signup.events[-1]["id"]) is None


def test_event_known_by_its_id_alone_is_fetched(signup: recordings.Recording) -> None:
    assert processing.process(signup.events[-1]["id"]) == "processed"
    assert stored(signup.events[-1]).payload == signup.events[-1]


def test_changes_are_attributed_to_stripe_and_its_event(signup: recordings.Recording, feed: Callable) -> None:
    feed(signup.events)
    entry = AuditEntry.objects.filter(table_name="subscriptions", new_values__tier="starter").get()
    assert (entry.actor, entry.request_id) == ("stripe", signup.events[-1]["id"])


def test_repeated_events_leave_no_trace(signup: recordings.Recording, feed: Callable) -> None:
    feed(signup.events)
    before = AuditEntry.objects.count()
    feed([event | {"id": f"{event['id']}_again"} for event in signup.events])
    assert AuditEntry.objects.count() == before


def test_what_stripe_says_again_is_mirrored_no_more(signup: recordings.Recording, feed: Callable) -> None:
    feed(signup.events)
    again = [
        event | {"id": f"{event['id']}_again"}
        for event in signup.events
        if event["data"]["object"]["object"] in ("invoice", "charge", "payment_intent", "payment_method")
    ]
    with CaptureQueriesContext(connection) as statements:
        assert set(feed(again)) == {"processed"}
    written = [each["sql"] for each in statements if re.search(r'(INSERT INTO|UPDATE) "djstripe_', each["sql"])]
    assert again
    assert written == []
    assert len(statements) <= 25 * len(again), "statements an event"


def test_api_key_stays_out_of_the_database(signup: recordings.Recording, feed: Callable) -> None:
    feed(signup.events)
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM djstripe_apikey")
        assert cursor.fetchone() == (0,)


def test_what_was_written_is_undone_when_the_lease_was_lost(
    signup: recordings.Recording, monkeypatch: pytest.MonkeyPatch
) -> None:
    inbox.store(signup.events[-1])
    monkeypatch.setattr(claims, "complete", lambda *_: False)
    assert processing.process(signup.events[-1]["id"]) is None
    assert not User.objects.exists()
