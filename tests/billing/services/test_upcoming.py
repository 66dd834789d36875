"""The next invoice as Stripe reckons it: kept with its time, and for when Stripe is away."""

import pytest

from billing.models import UpcomingInvoice
from billing.services import upcoming
from demo.stripe.server import StripeServer
from tests.support.event_stream import EventStream
from tests.support.sql import query
from tests.support.stripe_acts import renewed

pytestmark = pytest.mark.django_db


@pytest.fixture
def told(stream: EventStream) -> UpcomingInvoice:
    renewed(stream)
    return upcoming.ask(stream.row)


def test_what_stripe_says_is_kept_to_the_cent(told: UpcomingInvoice) -> None:
    assert told.content["to_pay"] == 2900
    assert [cents for _, cents in told.content["lines"]] == [2900]
    assert (told.problem, told.told_at) == ("", told.asked_at)


def test_last_word_stays_while_stripe_is_away(
    told: UpcomingInvoice, stream: EventStream, stripe_server: StripeServer
) -> None:
    stripe_server.intercept = lambda method, path: (503, {"error": {"message": "down"}}, {})
    again = upcoming.ask(stream.row)
    assert (again.content, again.told_at) == (told.content, told.told_at)
    assert "Stripe" in again.problem


def test_that_none_comes_replaces_what_was_said(told: UpcomingInvoice, stream: EventStream) -> None:
    stream.update(cancel_at_period_end=True)
    again = upcoming.ask(stream.row)
    assert (again.content, again.told_at) == (None, None)
    assert "No upcoming invoices" in again.problem


def test_stripe_is_asked_once_a_minute_at_most(
    told: UpcomingInvoice, stream: EventStream, stripe_server: StripeServer
) -> None:
    before = len(stripe_server.requests)
    assert upcoming.ask_for(stream.user) == told
    assert len(stripe_server.requests) == before
    query("UPDATE upcoming_invoices SET asked_at = asked_at - interval '61 seconds'")
    upcoming.ask_for(stream.user)
    assert len(stripe_server.requests) > before


def test_customer_without_a_subscription_at_stripe_has_none(stream: EventStream) -> None:
    stream.update(status="canceled")
    assert upcoming.ask_for(stream.user) is None
