"""What staff see of what they ask Stripe: forms sent twice, lost answers, refusals, and the page of all requests."""

import re
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from django.contrib.messages import get_messages
from django.test import Client

from billing.models import StripeRequest, UnmatchedCustomer, User
from billing.stripe.requests import settling
from demo.stripe.server import StripeServer
from demo.stripe.world import StripeWorld
from glyphforge.audit.models import AuditEntry
from tests.support import factories
from tests.support.admin_pages import CONFIRMED, page_of, row_page
from tests.support.concurrently import at_once
from tests.support.event_stream import EventStream, deliver_new
from tests.support.sql import query

TEN = CONFIRMED | {"amount": "10.00"}
METER = {"interval": "month", "interval_count": 1, "usage_type": "metered", "meter": "mtr_Probe"}


@pytest.fixture
def lead(signed_in: Callable[[str], Client]) -> Client:
    return signed_in("billing_lead")


def token_of(client: Client, url: str) -> str:
    found = re.search(r'name="token" value="([^"]+)"', client.get(url).content.decode())
    assert found
    return found[1]


def told(client: Client, url: str, data: dict[str, Any]) -> str:
    """What the next page says after the form was sent."""
    response = client.post(url, data)
    assert response.status_code == 302
    return str(list(get_messages(response.wsgi_request))[-1])


def refunds(world: StripeWorld) -> list[int]:
    return [item["amount"] for item in world.objects.values() if item["object"] == "refund"]


def audited(action: str) -> int:
    return AuditEntry.objects.filter(action=action).count()


@pytest.mark.django_db
class TestRefund:
    def test_each_rendering_of_the_form_has_its_token(self, lead: Client, stream: EventStream) -> None:
        url = row_page(stream.payment, "refund")
        assert token_of(lead, url) != token_of(lead, url)

    def test_form_sent_again_is_told_what_became_of_the_first(self, lead: Client, stream: EventStream) -> None:
        url = row_page(stream.payment, "refund")
        form = TEN | {"token": token_of(lead, url)}
        assert "Stripe refunds 10.00 USD" in told(lead, url, form)
        assert "it is done, once (re_" in told(lead, url, form)
        deliver_new(stream.world)
        assert "it is done, once (re_" in told(lead, url, form)
        # Back, another amount, and sent again: the page is opened anew for another refund.
        assert "for the refund of 10.00 USD" in told(lead, url, form | {"amount": "5.00"})
        assert (refunds(stream.world), audited("refund")) == ([1000], 1)
        assert "Stripe refunds 19.00 USD" in told(lead, url, CONFIRMED | {"token": token_of(lead, url)})
        deliver_new(stream.world)
        assert "it is done, once (re_" in told(lead, url, form)  # where nothing is left to refund

    def test_form_without_a_token_is_known_by_its_content(self, lead: Client, stream: EventStream) -> None:
        url = row_page(stream.payment, "refund")
        told(lead, url, TEN)
        deliver_new(stream.world)
        assert "This form was sent before" in told(lead, url, TEN)
        assert "Stripe refunds 10.00 USD" in told(lead, url, TEN | {"reason": "Ticket 4712"})
        assert refunds(stream.world) == [1000, 1000]

    def test_lost_answer_is_no_reason_to_refund_again(
        self, lead: Client, stream: EventStream, stripe_server: StripeServer
    ) -> None:
        url = row_page(stream.payment, "refund")
        made = refunds(stream.world)
        stripe_server.loses = lambda method, path: (
            "answer" if method == "POST" or made != refunds(stream.world) else None
        )
        message = told(lead, url, TEN | {"token": token_of(lead, url)})
        assert "It may have been made: looking at Stripe" in message
        assert "Nothing was changed" not in message
        assert (refunds(stream.world), audited("refund")) == ([1000], 1)
        page = lead.get(row_page(stream.user)).content.decode()
        assert "Requests to Stripe that are not settled" in page
        assert f"Refund {stream.charge['id']}" in page
        assert "not known yet what became of the refund" in told(lead, url, TEN | {"token": token_of(lead, url)})

        stripe_server.loses = None
        deliver_new(stream.world)
        assert StripeRequest.objects.get(state="done").answer_id
        assert "not settled" not in lead.get(row_page(stream.user)).content.decode()
        assert (refunds(stream.world), audited("refund")) == ([1000], 1)


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("same_form", [True, False])
def test_two_presses_at_once_are_one_refund(
    signed_in: Callable[[str], Client], stream: EventStream, same_form: bool
) -> None:
    url = row_page(stream.payment, "refund")
    lead = signed_in("billing_lead")
    tokens = [token_of(lead, url), token_of(lead, url)]

    def press(number: int) -> str:
        return told(lead, url, TEN | {"token": tokens[0 if same_form else number]})

    answers = at_once(*(partial(press, number) for number in range(4 if same_form else 2)))
    assert (refunds(stream.world), audited("refund")) == ([1000], 1)
    assert sum("Stripe refunds 10.00 USD" in answer for answer in answers) == 1
    again = "This form was sent before" if same_form else "not known yet what became of|Stripe has refunded 10.00 USD"
    assert sum(bool(re.search(again, answer)) for answer in answers) == len(answers) - 1


@pytest.mark.django_db
class TestCancel:
    def test_second_press_of_cancel_now_says_that_it_is_canceled(self, lead: Client, stream: EventStream) -> None:
        url = row_page(stream.row, "cancel")
        assert "Stripe ends sub_" in told(lead, url, CONFIRMED | {"when": "now"})
        message = told(lead, url, CONFIRMED | {"when": "now"})
        assert message.startswith("The subscription is canceled already.")
        assert audited("cancel_now") == 1
        deliver_new(stream.world)
        assert "The subscription is canceled already." in lead.post(url, CONFIRMED | {"when": "now"}).content.decode()

    def test_subscription_that_a_schedule_manages_ends_now_only(self, lead: Client, stream: EventStream) -> None:
        stream.subscription["schedule"] = "sub_sched_Probe"
        url = row_page(stream.row, "cancel")
        form = CONFIRMED | {"token": token_of(lead, url)}
        assert "managed by the subscription schedule `sub_sched_Probe`" in told(
            lead, url, form | {"when": "period_end"}
        )
        assert not AuditEntry.objects.filter(reason=CONFIRMED["reason"]).exists()
        assert "Stripe ends sub_" in told(lead, url, form | {"when": "now"})
        assert audited("cancel_now") == 1

    @pytest.mark.parametrize(
        ("wanted", "sent"),
        [
            ({}, {}),
            ({"invoice_now": "on"}, {"invoice_now": "true"}),
            ({"invoice_now": "on", "prorate": "on"}, {"invoice_now": "true", "prorate": "true"}),
        ],
    )
    def test_open_usage_is_said_and_invoiced_when_wanted(
        self, lead: Client, stream: EventStream, stripe_server: StripeServer, wanted: Any, sent: Any
    ) -> None:
        price = stream.item["price"] | {"id": "price_Met", "recurring": METER, "lookup_key": None, "nickname": None}
        stream.world.put(price)
        metered = {name: value for name, value in stream.item.items() if name != "quantity"}
        stream.subscription["items"]["data"].append(metered | {"id": "si_Met", "price": price})
        stream.update()
        url = row_page(stream.row, "cancel")
        assert "Usage of price_Met is open" in lead.get(url).content.decode()
        told(lead, url, CONFIRMED | {"when": "now"} | wanted)
        (asked,) = [terms for call, terms in stripe_server.asked if call.startswith("DELETE")]
        assert asked == sent
        assert AuditEntry.objects.get(action="cancel_now").new_values.get("invoice_now") == (bool(wanted) or None)

    def test_without_metered_prices_nobody_is_asked(self, lead: Client, stream: EventStream) -> None:
        assert "invoice_now" not in lead.get(row_page(stream.row, "cancel")).content.decode()


@pytest.mark.django_db
class TestCollection:
    def test_collection_is_paused_until_a_time_and_resumed(
        self, lead: Client, stream: EventStream, stripe_server: StripeServer
    ) -> None:
        url = row_page(stream.row, "pause_collection")
        past = CONFIRMED | {"behavior": "void", "resumes_at_0": "2020-01-01", "resumes_at_1": "00:00"}
        assert "2020-01-01 00:00 UTC is past" in lead.post(url, past).content.decode()
        told(lead, url, past | {"resumes_at_0": "2090-01-01"})
        assert stream.subscription["pause_collection"] == {"behavior": "void", "resumes_at": 3786912000}
        deliver_new(stream.world)
        assert "resuming" not in told(lead, row_page(stream.row, "resume_collection"), CONFIRMED)
        assert stream.subscription["pause_collection"] is None
        assert "is not paused" in told(lead, row_page(stream.row, "resume_collection"), CONFIRMED)
        assert (audited("pause_collection"), audited("resume_collection")) == (1, 1)


@pytest.mark.django_db
class TestLink:
    @pytest.fixture
    def unmatched(self, world: StripeWorld) -> UnmatchedCustomer:
        stream = EventStream(world)
        return UnmatchedCustomer.objects.create(stripe_customer_id=stream.customer["id"], reason="nobody")

    @pytest.mark.parametrize("page", ["link", "create_customer"])
    @pytest.mark.parametrize("lost", ["request", "answer"])
    def test_link_stays_and_the_sweep_sees_that_stripe_is_told(
        self, lead: Client, unmatched: UnmatchedCustomer, stripe_server: StripeServer, page: str, lost: Any
    ) -> None:
        owner = factories.customer(email="owner@example.com")
        stripe_server.loses = lambda method, path: lost if method == "POST" else None
        email = owner.email if page == "link" else "new@example.com"
        message = told(lead, row_page(unmatched, page), CONFIRMED | {"email": email})
        assert ("linked, but Stripe was not told for sure: " in message) is (lost == "request")
        user = User.objects.get(stripe_customer_id=unmatched.pk)
        assert (user == owner) is (page == "link")
        stripe_server.loses = None
        query("UPDATE stripe_requests SET asked_at = asked_at - interval '6 minutes'")
        settling.sweep()
        customer = stripe_server.world.objects[unmatched.pk]
        assert customer["metadata"]["user_id"] == str(user.pk)
        assert (customer["email"] == email) is (page == "create_customer")
        assert StripeRequest.objects.get().state == "done"
        audits = AuditEntry.objects.filter(reason=CONFIRMED["reason"]).exclude(action__in=("insert", "update"))
        assert audits.count() == 1

    def test_link_stays_when_stripe_refuses_to_be_told(
        self, lead: Client, unmatched: UnmatchedCustomer, stripe_server: StripeServer
    ) -> None:
        refusal: Any = (400, {"error": {"message": "Invalid address.", "type": "invalid_request_error"}}, {})
        stripe_server.intercept = lambda method, path: refusal if method == "POST" else None
        message = told(lead, row_page(unmatched, "create_customer"), CONFIRMED | {"email": "new@example.com"})
        assert "linked, but Stripe was not told for sure" in message
        assert "Invalid address." in message
        assert User.objects.filter(stripe_customer_id=unmatched.pk, email="new@example.com").exists()
        assert (StripeRequest.objects.get().state, audited("tag_customer_not_made")) == ("refused", 1)


@pytest.mark.django_db
class TestPage:
    def test_requests_are_listed_filtered_searched_and_shown(self, signed_in: Callable[[str], Client]) -> None:
        support = signed_in("support")
        user = factories.customer(email="ada@example.com")
        wanted = factories.stripe_request(user, stripe_object_id="sub_wanted", parameters={"invoice_now": True})
        factories.stripe_request(stripe_object_id="sub_other", state="asked", kind="resume")
        for terms in ({"state__exact": "unknown"}, {"kind__exact": "cancel_now"}, {"q": "sub_wanted"}, {"q": "ada@"}):
            page = support.get(page_of(StripeRequest), terms).content.decode()
            assert "sub_wanted" in page
            assert "sub_other" not in page
        page = support.get(row_page(wanted)).content.decode()
        for shown in ("Unknown", "ada@example.com", "asked by the customer", "&quot;invoice_now&quot;: true"):
            assert shown in page, shown

    def test_look_at_stripe_settles_or_says_why_not(
        self, signed_in: Callable[[str], Client], stream: EventStream, stripe_server: StripeServer
    ) -> None:
        support = signed_in("support")
        request = factories.stripe_request(stream.user, stripe_object_id=stream.subscription["id"])
        url = row_page(request, "look")
        assert "does not show it yet" in told(support, url, CONFIRMED)
        stripe_server.intercept = lambda method, path: (503, {"error": {"message": "maintenance"}}, {})
        assert "Stripe does not say" in told(support, url, CONFIRMED)
        stripe_server.intercept = None
        stream.subscription["status"] = "canceled"
        assert "done" in told(support, url, CONFIRMED)
        request.refresh_from_db()
        assert (request.state, request.answer_id) == ("done", stream.subscription["id"])
