"""The endpoint: which deliveries are stored, and what each sender is told."""

import json
import time
from collections.abc import Callable
from typing import Any

import pytest
from django.conf import LazySettings
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django_q.models import OrmQ

from billing.models import WebhookEvent
from billing.stripe.events import claims, inbox
from demo.stripe import recordings
from demo.stripe.deliver import signature
from glyphforge.rows import Json

pytestmark = pytest.mark.django_db
URL = "/webhooks/stripe/"
SECRET = "whsec_current"


@pytest.fixture
def event() -> Json:
    return recordings.load("signup_paid").events[-1]


@pytest.fixture
def post(client: Client) -> Callable[..., Any]:
    def post_(body: str | bytes, *, secret: str = SECRET, at: float | None = None, **extra: Any) -> Any:
        text = body if isinstance(body, str) else body.decode("utf-8", "surrogateescape")
        headers = {"Stripe-Signature": signature(text, secret, int(time.time() if at is None else at))}
        return client.post(URL, body, content_type="application/json", headers=headers | extra)

    return post_


@pytest.mark.smoke
def test_verified_event_is_stored_and_enqueued(post: Callable, event: Json) -> None:
    assert post(json.dumps(event)).status_code == 200
    row = WebhookEvent.objects.get()
    assert (row.stripe_event_id, row.event_type, row.status) == (event["id"], event["type"], "pending")
    assert (row.api_version, row.livemode, row.payload) == (event["api_version"], False, event)
    assert [task.args() for task in OrmQ.objects.all()] == [(event["id"],)]


def test_duplicate_is_accepted_and_stored_once(post: Callable, event: Json) -> None:
    assert [post(json.dumps(event)).status_code for _ in range(3)] == [200, 200, 200]
    assert WebhookEvent.objects.count() == OrmQ.objects.count() == 1


def test_both_secrets_are_valid_while_they_rotate(post: Callable, event: Json) -> None:
    assert post(json.dumps(event), secret="whsec_previous").status_code == 200


def test_row_and_task_are_stored_together_or_not_at_all(
    post: Callable, event: Json, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise RuntimeError("the queue is full")

    monkeypatch.setattr(inbox, "async_task", fail)
    with pytest.raises(RuntimeError, match="queue is full"):
        post(json.dumps(event))
    assert not WebhookEvent.objects.exists()


@pytest.mark.parametrize(
    "tamper",
    [
        pytest.param(lambda body: {"secret": "whsec_wrong"}, id="wrong secret"),
        pytest.param(lambda body: {"at": time.time() - 301}, id="too old"),
        # The header has whole seconds, and some pass until it is read.
        pytest.param(lambda body: {"at": time.time() + 310}, id="from the future"),
        pytest.param(lambda body: {"Stripe-Signature": ""}, id="no signature"),
        pytest.param(lambda body: {"Stripe-Signature": "t=x,v1=y"}, id="garbled signature"),
        pytest.param(lambda body: {"Stripe-Signature": signature(body + " ", SECRET)}, id="tampered body"),
        pytest.param(lambda body: {"Stripe-Signature": f"t={int(time.time())},v1=\xe9"}, id="not ASCII"),
        pytest.param(lambda body: {"Stripe-Signature": "t=" + "9" * 5_000 + ",v1=y"}, id="endless timestamp"),
        pytest.param(lambda body: {"Stripe-Signature": f"t={int(time.time())}"}, id="timestamp alone"),
    ],
)
def test_what_stripe_did_not_sign_is_refused(post: Callable, event: Json, tamper: Callable[[str], Json]) -> None:
    body = json.dumps(event)
    assert post(body, **tamper(body)).status_code == 400
    assert not WebhookEvent.objects.exists()


@pytest.mark.parametrize(
    "body",
    [
        "not json",
        "[]",
        "null",
        "{}",
        '{"object": "event"}',
        '{"object": "event", "id": "evt_1", "type": "customer.created"}',
        '{"object": "event", "id": "", "type": "customer.created", "livemode": false}',
        '{"object": "event", "id": 7, "type": "customer.created", "livemode": false}',
        '{"object": "event", "id": "evt\\u0000", "type": "customer.created", "livemode": false}',
        '{"object": "event", "type": "customer.created", "livemode": false, "id": "evt_' + "x" * 10_000 + '"}',
        '{"object": "event", "api_version": "\\u0000", "id": "evt_1", "type": "customer.created", "livemode": false}',
        '{"object": "event", "id": "evt_1", "type": "x", "livemode": false, "data": NaN}',
        '{"object": "customer", "id": "cus_1"}',
        # A thin event of API v2, which an endpoint gets only when somebody sets it up to.
        '{"object": "v2.core.event", "id": "evt_1", "type": "v2.core.account.updated", "livemode": false}',
        "[" * 100_000,
        "\udcff",
    ],
    ids=lambda body: body[:40].encode("ascii", "replace").decode(),
)
def test_what_is_no_event_is_refused(client: Client, body: str) -> None:
    raw = body.encode("utf-8", "surrogateescape")
    signed = signature(body if body != "\udcff" else "", SECRET)
    response = client.post(URL, raw, content_type="application/json", headers={"Stripe-Signature": signed})
    assert response.status_code == 400
    assert not WebhookEvent.objects.exists()


def test_timestamp_is_read_as_the_library_reads_it(post: Callable, event: Json) -> None:
    moment, signed = signature(json.dumps(event), SECRET).split(",")
    assert post(json.dumps(event), **{"Stripe-Signature": f"{moment}=7,{signed}"}).status_code == 200


@pytest.mark.parametrize("depth", [450, 900])
def test_deep_nesting_is_stored_or_refused(post: Callable, event: Json, depth: int) -> None:
    body = json.dumps(event)[:-1] + ', "deep": ' + "[" * depth + "]" * depth + "}"
    status = post(body).status_code
    assert (status, WebhookEvent.objects.count()) in {(200, 1), (400, 0)}


@pytest.mark.parametrize("length", ["many", "1e3", "²"])
def test_length_that_is_no_number_is_refused(client: Client, length: str) -> None:
    response = client.post(URL, "{}", content_type="application/json", CONTENT_LENGTH=length)
    assert response.status_code == 400


def test_two_megabytes_are_too_large(post: Callable) -> None:
    assert post("x" * 2_000_000).status_code == 413


@pytest.mark.parametrize("method", ["get", "put", "patch", "delete", "head"])
def test_other_methods_are_not_allowed(client: Client, method: str) -> None:
    assert getattr(client, method)(URL).status_code == 405


def test_without_a_secret_nothing_is_accepted(post: Callable, event: Json, settings: LazySettings) -> None:
    settings.STRIPE_WEBHOOK_SECRETS = []
    assert post(json.dumps(event), secret="").status_code == 400


@pytest.mark.parametrize(
    "event_type",
    [
        "nobody.knows",
        # What a schedule does to a subscription comes as events of the subscription.
        "subscription_schedule.updated",
        "customer.tax_id.created",
        "invoice.upcoming",
        "payout.paid",
    ],
)
def test_type_that_changes_nothing_is_stored_as_ignored_and_not_enqueued(
    post: Callable, event: Json, event_type: str
) -> None:
    assert post(json.dumps(event | {"type": event_type})).status_code == 200
    assert WebhookEvent.objects.get().status == "ignored"
    assert not OrmQ.objects.exists()


def test_event_of_the_other_mode_is_stored_as_ignored(post: Callable, event: Json) -> None:
    assert post(json.dumps(event | {"livemode": True})).status_code == 200
    row = WebhookEvent.objects.get()
    assert row.status == "ignored"
    assert "live-mode event" in str(row.last_error)


def test_event_of_an_older_api_version_is_stored_with_it(post: Callable, event: Json) -> None:
    post(json.dumps(event | {"api_version": "2019-12-03"}))
    assert WebhookEvent.objects.get().api_version == "2019-12-03"


def test_characters_that_jsonb_cannot_hold_are_replaced(post: Callable, event: Json) -> None:
    body = json.dumps(event | {"note": "a\0b\ud800c", "é": "Zoë 字"})
    assert post(body).status_code == 200
    payload = WebhookEvent.objects.get().payload
    assert (payload["note"], payload["é"]) == ("a\ufffdb\ufffdc", "Zoë 字")


def test_payload_of_an_event_that_was_claimed_first_fills_the_stub(post: Callable, event: Json) -> None:
    claims.claim(event["id"])
    assert post(json.dumps(event)).status_code == 200
    row = WebhookEvent.objects.get()
    assert (row.event_type, row.payload) == (event["type"], event)


def test_delivery_costs_few_queries_and_asks_nobody(post: Callable, event: Json) -> None:
    with CaptureQueriesContext(connection) as queries:
        post(json.dumps(event))
    assert len(queries) <= 4
