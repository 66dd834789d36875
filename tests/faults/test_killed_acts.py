"""A web process that is killed while it asks Stripe: one effect, one audit row, and the same form asks for no other."""

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from django.conf import settings
from django.test import Client

from billing.models import StripeRequest
from billing.stripe.requests import settling
from demo.stripe.server import StripeServer
from glyphforge.audit.models import AuditEntry
from tests.support.admin_pages import CONFIRMED, row_page
from tests.support.event_stream import EventStream
from tests.support.sql import query
from tests.support.waiting import PATIENCE_SECONDS, wait_for
from tests.support.web import Web, web_process

pytestmark = [pytest.mark.slow, pytest.mark.django_db(transaction=True)]
CSRF = "killed0" * 4 + "acts"
TOKEN = "the-confirmation-of-a-refund"


@pytest.fixture
def held(stripe_server: StripeServer) -> Iterator[Callable[[str], threading.Event]]:
    """Stripe takes the next refund and does not answer: `request` before it is made, `answer` when it is."""
    asked, let_go = threading.Event(), threading.Event()

    def hold(moment: str) -> threading.Event:
        def lost(method: str, path: str) -> Any:
            if (method, path) != ("POST", "/v1/refunds"):
                return None
            if moment == "answer":
                return "answer"
            asked.set()
            let_go.wait(PATIENCE_SECONDS)
            return "request"

        def answered(method: str, path: str) -> None:
            """What looks for the lost answer is held instead."""
            if (moment, method) == ("answer", "GET") and "POST /v1/refunds" in stripe_server.requests:
                asked.set()
                let_go.wait(PATIENCE_SECONDS)

        stripe_server.loses, stripe_server.intercept = lost, answered
        return asked

    yield hold
    let_go.set()


def pressed(web: Web, client: Client, path: str, form: dict[str, str]) -> requests.Response:
    """What a web process answers to the form of who is signed in with `client`."""
    cookies = {name: cookie.value for name, cookie in client.cookies.items()} | {settings.CSRF_COOKIE_NAME: CSRF}
    return requests.post(web.origin + path, form, cookies=cookies, headers={"X-CSRFToken": CSRF}, timeout=60)


@pytest.mark.parametrize(("moment", "made"), [("request", 0), ("answer", 1)])
def test_refund_by_a_killed_web_process_is_settled_once_and_asked_for_no_second_time(
    moment: str,
    made: int,
    stripe_server: StripeServer,
    held: Callable[[str], threading.Event],
    signed_in: Callable[[str], Client],
    tmp_path: Path,
) -> None:
    stream = EventStream(stripe_server.world).signed_up()
    page, form = row_page(stream.payment, "refund"), CONFIRMED | {"amount": "10.00", "token": TOKEN}

    def refunds() -> int:
        return sum(item["object"] == "refund" for item in stripe_server.world.objects.values())

    asked, lead = held(moment), signed_in("billing_lead")
    with web_process(tmp_path, STRIPE_API_HOST=stripe_server.url, STAFF_SECOND_FACTOR_REQUIRED="false") as web:
        pressing = threading.Thread(
            target=lambda: pytest.raises(requests.ConnectionError, pressed, web, lead, page, form)
        )
        pressing.start()
        wait_for(asked.is_set)
        web.kill()
        pressing.join()
    request = StripeRequest.objects.get()
    assert (request.is_open, refunds()) == (True, made)

    stripe_server.loses = stripe_server.intercept = None
    assert "This form was sent before" in lead.post(page, form, follow=True).text
    query("UPDATE stripe_requests SET asked_at = asked_at - interval '6 minutes'")
    settling.sweep()
    request.refresh_from_db()
    assert (request.is_open, refunds()) == (False, made)
    told = AuditEntry.objects.filter(action__startswith="refund").order_by("pk").values_list("action", flat=True)
    assert list(told) == ["refund", "refund_not_made"][: 2 - made]
