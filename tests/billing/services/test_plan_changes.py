"""What a preview shows is what Stripe then charges, to the cent, for every kind of price."""

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from billing.models import PlanPrice, StripeRequest, Subscription
from billing.services import plan_changes
from billing.services.plan_changes import NEXT_INVOICE, NOW, PERIOD_END, Bill, Limits, Preview, Terms
from billing.stripe.requests import settling
from demo.stripe import billing
from demo.stripe.server import StripeServer
from glyphforge.audit.models import AuditEntry
from glyphforge.database.clock import database_time
from glyphforge.errors import Notice, Refused
from glyphforge.rows import Json
from tests.support import factories
from tests.support.event_stream import EventStream, deliver_new, price
from tests.support.sql import query
from tests.support.stripe_acts import coupon, renewed, scheduled

pytestmark = pytest.mark.django_db
WHO = {"actor": "ada", "reason": "ticket 4711"}
TIERS = [
    {"up_to": 5, "flat_amount": 1000, "unit_amount": 700},
    {"up_to": 50, "flat_amount": None, "unit_amount": 500},
    {"up_to": None, "flat_amount": 99, "unit_amount_decimal": "310.5"},
]
RATE = {"object": "tax_rate", "active": True, "display_name": "VAT", "created": 1, "livemode": False}
# Each with the currency, the quantity, what the price is, the coupon and the tax rate.
KINDS: dict[str, Json] = {
    "starter_yearly": {},
    "professional_monthly": {},
    "professional_yearly": {},
    "enterprise_monthly": {},
    "several": {"lookup_key": "professional_monthly", "quantity": 7},
    "percent": {"lookup_key": "professional_monthly", "coupon": coupon("THIRD", percent_off=33.33)},
    "amount": {"lookup_key": "professional_yearly", "coupon": coupon("TEN", amount_off=1000, currency="usd")},
    "once": {"lookup_key": "professional_monthly", "coupon": coupon("ONCE", percent_off=20, duration="once")},
    "taxed": {"lookup_key": "professional_monthly", "tax": RATE | {"percentage": 19, "inclusive": False}},
    "tax within": {"lookup_key": "professional_yearly", "tax": RATE | {"percentage": 7.7, "inclusive": True}},
    "volume": {"price": {"billing_scheme": "tiered", "tiers_mode": "volume", "tiers": TIERS}, "quantity": 60},
    "graduated": {"price": {"billing_scheme": "tiered", "tiers_mode": "graduated", "tiers": TIERS}, "quantity": 60},
    "packages": {"price": {"transform_quantity": {"divide_by": 10, "round": "up"}}, "quantity": 31},
    "fractions": {"price": {"unit_amount": None, "unit_amount_decimal": "0.333"}, "quantity": 1001},
    "quarterly": {"price": {"recurring": {"interval": "month", "interval_count": 3, "usage_type": "licensed"}}},
    "yen": {"currency": "jpy", "price": {"unit_amount": 14800, "unit_amount_decimal": "14800"}},
    "yen a year": {
        "currency": "jpy",
        "price": {
            "unit_amount": 148000,
            "unit_amount_decimal": "148000",
            "recurring": {"interval": "year", "interval_count": 1, "usage_type": "licensed"},
        },
    },
    "dinars": {
        "currency": "kwd",
        "price": {"unit_amount": 30510, "unit_amount_decimal": "30510"},
        "coupon": coupon("DINAR", percent_off=12.5),
    },
}


@pytest.fixture
def kind(request: pytest.FixtureRequest, stream: EventStream) -> tuple[Json, str, int]:
    """The subscription in its tenth day, and the price of the kind known here: coupon's id, price's id and quantity."""
    said = {"lookup_key": request.param, "currency": "usd", "quantity": 1} | KINDS[request.param]
    wanted = said.get("price")
    old = stream.item["price"]
    if wanted is not None:
        new = price(stream.world, "professional_monthly") | {"id": "price_kind", "lookup_key": None, "metadata": {}}
        stream.world.put(new | {"currency": said["currency"]} | wanted)
        PlanPrice.objects.create(stripe_price_id="price_kind", tier="professional")
    if said["currency"] != "usd":
        stream.subscription["currency"] = said["currency"]
        stream.item["price"] = old | {"id": "price_old", "currency": said["currency"], "lookup_key": "starter_monthly"}
        stream.world.put(stream.item["price"])
    if "tax" in said:
        rate = said["tax"] | {"id": "txr_1"}
        stream.subscription["default_tax_rates"] = [rate]
    if "coupon" in said:
        stream.world.put(said["coupon"])
    renewed(stream)
    price_id = "price_kind" if wanted is not None else price(stream.world, said["lookup_key"])["id"]
    return (said.get("coupon") or {"id": ""}), price_id, said["quantity"]


def later(monkeypatch: pytest.MonkeyPatch, seconds: int) -> None:
    """Stripe's clock goes on, and what it reckons with it."""
    now = time.time() + seconds
    monkeypatch.setattr(billing.time, "time", lambda: now)


def test_from_a_year_to_a_month_the_next_invoice_comes_in_a_month(stream: EventStream) -> None:
    yearly = price(stream.world, "starter_yearly")
    stream.item["price"] = yearly
    renewed(stream)
    stream.item["current_period_end"] += 300 * 86_400
    stream.update()
    found = plan_changes.preview(stream.row, Terms(price(stream.world, "starter_monthly")["id"], 1, NOW))
    plan_changes.change_plan(stream.row, found.change, **WHO)
    deliver_new(stream.world)
    assert stream.row.current_period_end == found.next_at
    assert found.next_at < database_time() + timedelta(days=32)


def as_bill(invoice: Json) -> Any:
    return (
        [(line["description"], line["amount"]) for line in invoice["lines"]["data"]],
        invoice["total"],
        sum(tax["amount"] for tax in invoice["total_taxes"]),
        invoice["amount_due"],
    )


def shown(bill: Bill | None) -> Any:
    return bill and (bill.lines, bill.total, bill.tax, bill.to_pay)


def last_invoice(stream: EventStream) -> Json:
    return stream.world.objects[stream.subscription["latest_invoice"]]


@pytest.mark.parametrize("kind", KINDS, indirect=True)
@pytest.mark.parametrize("when", [NOW, NEXT_INVOICE, PERIOD_END])
def test_what_is_shown_is_what_is_charged_a_minute_later_too(
    stream: EventStream, kind: tuple[Json, str, int], when: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    used, price_id, quantity = kind
    found = plan_changes.preview(stream.row, Terms(price_id, quantity, when, used["id"]))
    before = stream.subscription["latest_invoice"]
    ends = stream.item["current_period_end"]

    later(monkeypatch, 60)
    request = plan_changes.change_plan(stream.row, found.change, **WHO)
    assert request.state == "done"
    made = stream.subscription["latest_invoice"] != before
    assert (as_bill(last_invoice(stream)) if made else None) == shown(found.now)
    deliver_new(stream.world)
    if when != PERIOD_END:
        row = stream.row
        assert (row.stripe_price_id, row.quantity) == (price_id, quantity)
        if used.get("duration") != "once":
            assert (row.tier, row.price_cents) == (found.tier_after, found.monthly_after)

    stream.world.renew(stream.subscription["id"])
    assert as_bill(last_invoice(stream)) == shown(found.next)
    assert last_invoice(stream)["created"] == int(found.next_at.timestamp())
    assert (ends == int(found.next_at.timestamp())) == (
        not made
        or (
            stream.item["price"]["recurring"]["interval"] == "month"
            and stream.item["price"]["recurring"]["interval_count"] == 1
        )
    )
    deliver_new(stream.world)
    row = stream.row
    assert (row.tier, row.stripe_price_id, row.stripe_schedule_id) == (found.tier_after, price_id, None)


def seen(stream: EventStream, lookup_key: str = "professional_monthly", quantity: int = 1, when: str = NOW) -> Preview:
    return plan_changes.preview(stream.row, Terms(price(stream.world, lookup_key)["id"], quantity, when))


def test_preview_changes_nothing(stream: EventStream) -> None:
    renewed(stream)
    before, events = stream.world.objects.copy(), len(stream.world.events)
    found = seen(stream)
    assert (stream.world.objects, len(stream.world.events)) == (before, events)
    assert StripeRequest.objects.count() == 0
    assert (found.monthly_before, found.monthly_after) == (2900, 9900)
    assert (found.tier_before, found.tier_after) == ("starter", "professional")
    assert (found.limits.before, found.limits.after) == (10_000, 100_000)


def test_customers_credit_is_used_up_as_shown(stream: EventStream) -> None:
    renewed(stream)
    stream.customer["balance"] = -1000
    found = seen(stream)
    assert found.now
    assert (found.now.balance, found.now.to_pay) == (-1000, found.now.total - 1000)
    plan_changes.change_plan(stream.row, found.change, **WHO)
    assert as_bill(last_invoice(stream)) == shown(found.now)


@pytest.mark.parametrize(
    ("happens", "told"),
    [
        (lambda stream: stream.item.update(quantity=2), "has changed at Stripe since the preview"),
        (lambda stream: stream.customer.update(balance=-500), r"would come to .* by now, not to .* as shown"),
        (lambda stream: stream.subscription.update(schedule="sub_sched_1"), "The schedule sub_sched_1 manages"),
        (lambda stream: stream.subscription.update(status="canceled"), "is canceled already"),
        (lambda stream: stream.world.renew(stream.subscription["id"]), "has changed at Stripe since the preview"),
    ],
)
def test_what_changed_since_the_preview_is_refused(
    stream: EventStream, happens: Callable[[EventStream], Any], told: str
) -> None:
    renewed(stream)
    found = seen(stream)
    happens(stream)
    with pytest.raises(Refused, match=told):
        plan_changes.change_plan(stream.row, found.change, **WHO)
    assert stream.item["price"]["lookup_key"] == "starter_monthly"
    assert not AuditEntry.objects.filter(action="change_plan").exists()


def test_invoice_that_cannot_be_paid_changes_nothing(stream: EventStream) -> None:
    renewed(stream)
    found = seen(stream)
    stream.world.declining.add(stream.customer["id"])
    with pytest.raises(Refused, match="Your card was declined"):
        plan_changes.change_plan(stream.row, found.change, **WHO)
    assert stream.item["price"]["lookup_key"] == "starter_monthly"
    assert StripeRequest.objects.get().state == "refused"


@pytest.mark.parametrize(
    ("before", "terms", "told"),
    [
        ({}, Terms("price_none", 1, NOW), "Stripe knows no price price_none"),
        ({}, Terms("professional_monthly", 0, NOW), "A quantity is 1 or more, not 0"),
        ({}, Terms("starter_monthly", 1, NOW), "has this price and quantity already"),
        ({}, Terms("professional_monthly", 1, "soon"), "There is no 'soon'; there are now, next_invoice, period_end"),
        ({}, Terms("professional_monthly", 1, NOW, "NONE"), "Stripe knows no coupon NONE"),
        ({"cancel_at_period_end": True}, Terms("professional_monthly", 1, NOW), "set to end: resume it before"),
        ({"schedule": "sub_sched_1"}, Terms("professional_monthly", 1, NOW), "The schedule sub_sched_1 manages it"),
        ({"status": "canceled"}, Terms("professional_monthly", 1, NOW), "has ended already"),
        ({"currency": "eur"}, Terms("professional_monthly", 1, NOW), "The price is in USD, the subscription in EUR"),
    ],
)
def test_change_that_cannot_be_is_refused_with_what_would_be_right(
    stream: EventStream, before: Json, terms: Terms, told: str
) -> None:
    renewed(stream)
    if "currency" in before:
        stream.item["price"] = stream.item["price"] | {"currency": "eur"}
    stream.update(**before)
    known = [item for item in stream.world.objects.values() if item.get("lookup_key") == terms.price_id]
    price_id = known[0]["id"] if known else terms.price_id
    with pytest.raises(Refused, match=told):
        plan_changes.preview(stream.row, Terms(price_id, terms.quantity, terms.when, terms.coupon))


def test_price_that_no_plan_claims_is_refused_and_its_quantity_changes(stream: EventStream) -> None:
    renewed(stream)
    other = price(stream.world, "professional_monthly") | {"id": "price_x", "lookup_key": None, "metadata": {}}
    stream.world.put(other)
    with pytest.raises(Refused, match="No plan claims the price price_x: map it under Plan prices"):
        plan_changes.preview(stream.row, Terms("price_x", 1, NOW))
    stream.item["price"].update(lookup_key=None, metadata={}, active=False)
    found = plan_changes.preview(stream.row, Terms(stream.item["price"]["id"], 3, NOW))
    assert (found.tier_after, found.monthly_after) == ("starter", 8700)
    plan_changes.change_plan(stream.row, found.change, **WHO)
    assert stream.item["quantity"] == 3


def test_stripe_that_does_not_answer_shows_nothing(stream: EventStream, stripe_server: StripeServer) -> None:
    renewed(stream)
    stripe_server.loses = lambda method, path: "request"
    with pytest.raises(Refused, match="Nothing was changed"):
        seen(stream)


class TestLimit:
    @pytest.fixture
    def busy(self, stream: EventStream) -> EventStream:
        """A Professional customer who has used more than Starter allows."""
        renewed(stream)
        stream.item["price"] = price(stream.world, "professional_monthly")
        stream.update()
        factories.requests(stream.user, 3)
        query("UPDATE plans SET monthly_request_limit = 2 WHERE tier = 'starter'")
        return stream

    def test_plan_that_allows_less_than_is_used_needs_a_reason(self, busy: EventStream) -> None:
        found = seen(busy, "starter_monthly")
        assert (found.limits.used, found.limits.after, found.limits.is_exceeded) == (3, 2, True)
        with pytest.raises(Refused, match="The customer uses 3 of the new 2: say why"):
            plan_changes.change_plan(busy.row, found.change, **WHO)
        assert busy.item["price"]["lookup_key"] == "professional_monthly"
        plan_changes.change_plan(busy.row, found.change, over_limit="Agreed with sales", **WHO)
        entry = AuditEntry.objects.get(action="change_plan")
        assert entry.new_values["over_limit"] == "Agreed with sales"
        assert busy.item["price"]["lookup_key"] == "starter_monthly"

    @pytest.mark.parametrize(
        ("before", "after", "exceeded"),
        [(None, 2, True), (9, 2, True), (9, 3, False), (2, 2, False), (1, 2, False), (9, None, False)],
    )
    def test_only_a_lower_limit_that_is_used_up_is_exceeded(
        self, before: int | None, after: int | None, exceeded: bool
    ) -> None:
        assert Limits(before, after, used=3).is_exceeded is exceeded


class TestSigned:
    def test_only_what_was_shown_of_these_terms_is_taken(self, stream: EventStream) -> None:
        renewed(stream)
        terms = Terms(price(stream.world, "professional_monthly")["id"], 1, NOW)
        signed = plan_changes.sign(stream.row, terms, {"quantity": 1})
        assert plan_changes.shown(stream.row, terms, signed) == {"quantity": 1}
        assert plan_changes.shown(stream.row, Terms(terms.price_id, 2, NOW), signed) is None
        assert plan_changes.shown(Subscription(), terms, signed) is None
        for forged in ("", "x", signed[:-1], "e30:" + signed.partition(":")[2]):
            assert plan_changes.shown(stream.row, terms, forged) is None


class TestAtPeriodEnd:
    def lost(self, server: StripeServer, what: str, path: str) -> None:
        server.loses = lambda method, asked: what if (method, asked) == ("POST", path) else None

    def ask(self, stream: EventStream, token: str = "") -> StripeRequest:
        found = seen(stream, "professional_yearly", 2, PERIOD_END)
        return plan_changes.change_plan(stream.row, found.change, token=token, **WHO)

    def schedules(self, stream: EventStream) -> list[Json]:
        return [item for item in stream.world.objects.values() if item["object"] == "subscription_schedule"]

    def test_schedule_keeps_what_is_until_then_and_changes_it(self, stream: EventStream) -> None:
        renewed(stream)
        request = self.ask(stream)
        (schedule,) = self.schedules(stream)
        first, then = schedule["phases"]
        assert (request.answer_id, schedule["metadata"]) == (schedule["id"], {"intent": str(request.pk)})
        assert (first["start_date"], first["end_date"]) == (
            stream.item["current_period_start"],
            stream.item["current_period_end"],
        )
        assert [item["price"] for item in first["items"]] == [stream.item["price"]["id"]]
        assert then["items"][0] == {"price": price(stream.world, "professional_yearly")["id"], "quantity": "2"}
        assert (then["duration"], then["proration_behavior"]) == ({"interval": "year", "interval_count": "1"}, "none")
        deliver_new(stream.world)
        assert (stream.row.tier, stream.row.stripe_schedule_id) == ("starter", schedule["id"])

    @pytest.mark.parametrize("lost", ["request", "answer"])
    @pytest.mark.parametrize("call", ["create", "phases"])
    def test_schedule_that_was_begun_is_finished_once(
        self, stream: EventStream, stripe_server: StripeServer, lost: str, call: str
    ) -> None:
        renewed(stream)
        is_done = (lost, call) == ("answer", "phases")
        stripe_server.loses = lambda method, path: (
            lost
            if method == "POST"
            and path.startswith("/v1/subscription_schedules")
            and (path.count("/") > 2) == (call == "phases")
            else None
        )
        if is_done:
            assert self.ask(stream).state == "done"
        else:
            with pytest.raises(Notice, match="It may have been made"):
                self.ask(stream, token="of-the-first-form")
            stripe_server.loses = None
            query("UPDATE stripe_requests SET asked_at = asked_at - interval '6 minutes'")
            query("UPDATE stripe_requests SET asked_at = to_timestamp(%s)", int(time.time()) - 310)
            for schedule in self.schedules(stream):
                schedule["created"] -= 310
            settling.sweep()
        never = (lost, call) == ("request", "create")
        request = StripeRequest.objects.get()
        assert request.state == ("refused" if never else "done")
        assert [len(schedule["phases"]) for schedule in self.schedules(stream)] == ([] if never else [2])
        audits = AuditEntry.objects.filter(action__startswith="change_plan").values_list("action", flat=True)
        assert list(audits.order_by("pk")) == [
            "change_plan_at_period_end",
            *(["change_plan_at_period_end_not_made"] if never else []),
        ]

    def test_another_schedule_is_left_alone(self, stream: EventStream) -> None:
        renewed(stream)
        found = seen(stream, "professional_yearly", 2, PERIOD_END)
        scheduled(stream)
        stream.world.objects[stream.subscription["schedule"]]["created"] = 1
        with pytest.raises(Refused, match="manages the subscription: take back its planned changes before"):
            plan_changes.change_plan(stream.row, found.change, **WHO)
        assert [len(schedule["phases"]) for schedule in self.schedules(stream)] == [1]

    def test_moment_is_the_periods_end(self, stream: EventStream) -> None:
        renewed(stream)
        found = seen(stream, "professional_yearly", 2, PERIOD_END)
        assert found.now is None
        assert found.next_at == datetime.fromtimestamp(stream.item["current_period_end"], UTC)
        assert found.next.to_pay == 198_000
