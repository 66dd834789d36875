"""What is declared to be none of ours makes no user, row, revenue, difference or alert, and waits for nobody."""

import itertools
from collections.abc import Callable
from typing import Any

import pytest
from django.db import connection

from billing.models import Payment, PlanPrice, Sold, Subscription, UnmatchedCustomer, User, WebhookEvent
from billing.services import prices, reconciliation
from billing.stripe.events import processing
from demo.stripe.world import StripeWorld
from glyphforge.rows import Json
from tests.support import factories
from tests.support.event_stream import EventStream, run_tasks

pytestmark = pytest.mark.django_db
WHO = {"actor": "ada", "reason": "another business"}
PRICE, PRODUCT = "price_news", "prod_news"
TOLD_OF = [
    *("failed_webhooks", "dead_webhooks", "duplicate_subscriptions", "unclaimed_prices"),
    *("unmatched_stripe_customers", "orphaned_stripe_customers", "unrepaired_differences"),
]


class Newsletter(EventStream):
    """A customer of another business on the same account."""

    def __init__(self, world: StripeWorld) -> None:
        super().__init__(world)
        sold = next(item for item in world.objects.values() if item["object"] == "product")
        world.put(sold | {"id": PRODUCT, "name": "Newsletter", "metadata": {}})
        self.price = self.copy_of(self.item["price"], id=PRICE, product=PRODUCT, metadata={}, lookup_key=None)
        self.item["price"] = self.price
        for line in self.invoice["lines"]["data"]:
            line["pricing"]["price_details"] = {"price": PRICE, "product": PRODUCT}

    def events(self) -> list[Json]:
        return [
            self.world.emit("customer.created", self.customer),
            self.world.emit("customer.subscription.created", self.subscription),
            self.world.emit("charge.succeeded", self.charge),
            self.world.emit("invoice.paid", self.invoice),
        ]

    def arrive(self) -> list[str | None]:
        return [self.deliver(event) for event in self.events()]


@pytest.fixture
def news(world: StripeWorld) -> Newsletter:
    return Newsletter(world)


def by_price(news: Newsletter) -> None:
    prices.map_price(PRICE, Sold.FOREIGN, **WHO)


def by_product(news: Newsletter) -> None:
    prices.map_price(PRODUCT, Sold.FOREIGN, **WHO)


def by_the_prices_metadata(news: Newsletter) -> None:
    news.price["metadata"] = news.item["price"]["metadata"] = {"tier": "none"}
    news.announce("price.updated", news.price)


def by_the_products_metadata(news: Newsletter) -> None:
    news.announce("price.updated", news.price)
    news.world.objects[PRODUCT]["metadata"] = {"tier": "none"}
    news.announce("product.updated", news.world.objects[PRODUCT])


DECLARED = [by_price, by_product, by_the_prices_metadata, by_the_products_metadata]


def try_what_waits() -> None:
    """As the job `webhooks` does a minute later."""
    run_tasks()
    for event_id in WebhookEvent.objects.filter(status="failed", next_retry_at=None).values_list("stripe_event_id"):
        processing.process(*event_id)
    run_tasks()


def assert_silent(customers: int = 0) -> None:
    assert User.objects.count() == customers
    assert not Subscription.objects.filter(stripe_price_id=PRICE).exists()
    assert not WebhookEvent.objects.exclude(status__in=["processed", "ignored"]).exists()
    assert not UnmatchedCustomer.objects.exists()
    with connection.cursor() as cursor:
        cursor.execute("SELECT alert_type FROM v_alerts WHERE alert_type = ANY (%s)", [TOLD_OF])
        assert cursor.fetchall() == []
    run = reconciliation.run(ingest=False, **WHO)
    assert list(run.differences.exclude(object_kind="event").values_list("object_kind", "field")) == []


@pytest.mark.parametrize("declared", DECLARED)
def test_declared_before_it_comes(news: Newsletter, declared: Callable[[Newsletter], None]) -> None:
    declared(news)
    assert set(news.arrive()) <= {"processed", "ignored"}
    assert_silent()


@pytest.mark.parametrize("declared", DECLARED)
def test_declared_after_it_came(news: Newsletter, declared: Callable[[Newsletter], None]) -> None:
    assert "failed" in news.arrive()
    assert Payment.objects.exists()
    WebhookEvent.objects.filter(status="failed").update(attempts=5)
    declared(news)
    try_what_waits()
    assert_silent()


@pytest.mark.parametrize("order", list(itertools.permutations(range(4)))[::3])
def test_order_of_events_does_not_matter(news: Newsletter, order: tuple[int, ...]) -> None:
    by_price(news)
    events = news.events()
    for place in order:
        assert news.deliver(events[place]) in ("processed", "ignored")
    assert (User.objects.count(), Payment.objects.count(), Subscription.objects.count()) == (0, 0, 0)


def test_event_says_why_nothing_came_of_it(news: Newsletter) -> None:
    by_price(news)
    assert news.announce("customer.created", news.customer) == "ignored"
    said = WebhookEvent.objects.get(event_type="customer.created").last_error
    assert said == f"Stripe customer {news.customer['id']} has only what is declared to be none of ours."


def test_user_made_before_anything_was_bought_goes(news: Newsletter) -> None:
    by_price(news)
    kept = {item["id"]: news.world.objects.pop(item["id"]) for item in (news.subscription, news.invoice)}
    assert news.announce("customer.created", news.customer) == "processed"
    assert User.objects.count() == 1
    news.world.objects |= kept
    assert news.announce("customer.subscription.created", news.subscription) == "processed"
    assert_silent()


@pytest.mark.parametrize("why", ["key", "note", "sign-in", "metadata"])
def test_user_who_has_something_here_stays_on_the_free_plan(news: Newsletter, why: str) -> None:
    news.arrive()
    user = news.user
    if why == "key":
        factories.issued_key(user)
    if why == "note":
        user.notes.create(author="ada", body="Calls on Mondays")
    if why == "sign-in":
        User.objects.filter(pk=user.pk).update(cognito_user_id="sub-1")
    if why == "metadata":
        news.customer["metadata"] = {"user_id": str(user.pk)}
        news.announce("customer.updated", news.customer)
    by_price(news)
    try_what_waits()
    assert news.live_tier() == "free"
    assert not Payment.objects.exists()
    assert_silent(customers=1)


def test_row_that_it_had_before_goes(news: Newsletter) -> None:
    prices.map_price(PRICE, "starter", **WHO)
    news.arrive()
    assert news.live_tier() == "starter"
    assert Payment.objects.count() == 1
    prices.map_price(PRICE, Sold.FOREIGN, **WHO)
    run_tasks()
    assert_silent()


def test_difference_is_found_and_healed_where_the_declaration_was_written_by_hand(news: Newsletter) -> None:
    prices.map_price(PRICE, "starter", **WHO)
    news.arrive()
    PlanPrice.objects.filter(pk=PRICE).update(tier=Sold.FOREIGN)
    run = reconciliation.run(ingest=False, **WHO)
    assert set(run.differences.values_list("object_kind", "field", "stripe_value")) == {
        ("subscription", "tier", "none"),
        ("charge", "amount_cents", "none"),
    }
    reconciliation.run(ingest=False, repair=True, **WHO)
    assert_silent()


@pytest.mark.parametrize("how", ["mapped", "removed"])
def test_what_is_ours_after_all_comes_back(news: Newsletter, how: str) -> None:
    by_product(news)
    news.arrive()
    if how == "mapped":
        prices.map_price(PRICE, "starter", **WHO)
    else:
        news.price["lookup_key"] = news.item["price"]["lookup_key"] = "starter_monthly"
        news.announce("price.updated", news.price)
        prices.unmap_price(PRODUCT, **WHO)
    run_tasks()
    assert news.live_tier() == "starter"
    assert Payment.objects.count() == 1


def test_customer_who_waited_for_a_person_waits_no_more(news: Newsletter) -> None:
    somebody = factories.customer(email=news.customer["email"])
    assert set(news.arrive()) == {"failed", "processed"}
    assert UnmatchedCustomer.objects.exists()
    by_price(news)
    try_what_waits()
    assert_silent(customers=1)
    assert not Payment.objects.filter(user=somebody).exists()


def test_deleted_customer_leaves_no_user(news: Newsletter) -> None:
    by_price(news)
    news.arrive()
    news.world.delete_customer(news.customer["id"])
    for event in news.world.events[-2:]:
        assert news.deliver(event) in ("processed", "ignored")
    assert not User.objects.exists()


class TestBesideAPlan:
    """The customer of a plan buys at the other business too."""

    def bought(self, stream: EventStream) -> tuple[Json, Json, Json]:
        """Subscription, charge and invoice of the newsletter, for the same customer."""
        sold = next(item for item in stream.world.objects.values() if item["object"] == "product")
        stream.world.put(sold | {"id": PRODUCT, "name": "Newsletter", "metadata": {}})
        price = stream.copy_of(stream.item["price"], id=PRICE, product=PRODUCT, metadata={}, lookup_key=None)
        second = stream.copy_of(stream.subscription, id="sub_news")
        second["items"]["data"][0].update(id="si_news", price=price)
        charge = stream.copy_of(stream.charge, id="ch_news", payment_intent="pi_news", amount=500, amount_captured=500)
        invoice = stream.copy_of(stream.invoice, id="in_news", created=stream.invoice["created"] + 1)
        invoice["payments"] = {"data": [{"payment": {"type": "payment_intent", "payment_intent": "pi_news"}}]}
        for line in invoice["lines"]["data"]:
            line["pricing"]["price_details"] = {"price": PRICE, "product": PRODUCT}
        return second, charge, invoice

    def events(self, stream: EventStream) -> list[Json]:
        second, charge, invoice = self.bought(stream)
        return [
            stream.world.emit("customer.subscription.created", second),
            stream.world.emit("charge.succeeded", charge),
            stream.world.emit("invoice.paid", invoice),
        ]

    def assert_plan_alone(self, stream: EventStream) -> None:
        assert [row.stripe_subscription_id for row in Subscription.objects.filter(status="active")] == [
            stream.subscription["id"]
        ]
        assert [row.stripe_charge_id for row in Payment.objects.all()] == [stream.charge["id"]]
        with connection.cursor() as cursor:
            cursor.execute("SELECT mrr_cents FROM v_revenue_metrics")
            assert cursor.fetchone() == (2900,)
        assert_silent(customers=1)

    @pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
    def test_plan_alone_counts(self, stream: EventStream, order: tuple[int, ...]) -> None:
        PlanPrice.objects.create(stripe_price_id=PRICE, tier=Sold.FOREIGN)
        events = self.events(stream)
        for place in order:
            assert stream.deliver(events[place]) == "processed"
        self.assert_plan_alone(stream)

    def test_duplicate_that_was_counted_before_it_was_declared_goes(self, stream: EventStream) -> None:
        events = self.events(stream)
        prices.map_price(PRICE, "enterprise", **WHO)
        for event in events:
            assert stream.deliver(event) == "processed"
        assert stream.live_tier() == "enterprise"
        prices.map_price(PRICE, Sold.FOREIGN, **WHO)
        run_tasks()
        assert stream.live_tier() == "starter"
        self.assert_plan_alone(stream)

    def test_foreign_item_of_a_plans_subscription_costs_nothing(self, stream: EventStream) -> None:
        self.bought(stream)
        PlanPrice.objects.create(stripe_price_id=PRICE, tier=Sold.FOREIGN)
        news: Any = stream.item | {"id": "si_news", "price": stream.world.objects[PRICE], "quantity": 7}
        stream.subscription["items"]["data"].insert(0, news)
        assert stream.announce("customer.subscription.updated", stream.subscription) == "processed"
        assert (stream.row.tier, stream.row.price_cents, stream.row.quantity) == ("starter", 2900, 1)

    def test_invoice_for_both_is_a_payment(self, stream: EventStream) -> None:
        PlanPrice.objects.create(stripe_price_id=PRICE, tier=Sold.FOREIGN)
        _, charge, invoice = self.bought(stream)
        plans = stream.invoice["lines"]["data"][0] | {"id": "il_plan"}
        invoice["lines"]["data"].append(plans)
        assert stream.announce("charge.succeeded", charge) == "processed"
        assert Payment.objects.count() == 2
