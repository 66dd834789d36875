"""Stripe's subscriptions and customers as rows, in every state that Stripe knows."""

from datetime import UTC, datetime
from typing import Any

import pytest
from django_q.models import OrmQ

from billing import tasks
from billing.models import PlanPrice, Subscription, Tombstone, User
from demo.stripe.world import StripeWorld
from tests.support import factories
from tests.support.event_stream import EventStream, last_error, price

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize(
    ("status", "entitled"),
    [
        ("trialing", "starter"),
        ("active", "starter"),
        ("past_due", "starter"),
        ("unpaid", "starter"),
        ("paused", "starter"),
        ("incomplete", "free"),
        ("incomplete_expired", "free"),
        ("canceled", "free"),
    ],
)
def test_status_decides_whether_the_free_plan_is_back(stream: EventStream, status: str, entitled: str) -> None:
    assert stream.update(status=status, ended_at=1_790_000_000 if status == "canceled" else None) == "processed"
    assert (stream.row.status, stream.live_tier()) == (status, entitled)
    assert stream.update(status="active", ended_at=None) == "processed"
    assert stream.live_tier() == "starter"
    assert stream.row.canceled_at is None


def test_paused_collection_keeps_the_subscription_active(stream: EventStream) -> None:
    stream.update(pause_collection={"behavior": "void", "resumes_at": None})
    assert (stream.row.status, stream.live_tier()) == ("active", "starter")


@pytest.mark.parametrize(("event", "status"), [("paused", "paused"), ("resumed", "active")])
def test_pausing_and_resuming_are_handled(stream: EventStream, event: str, status: str) -> None:
    stream.subscription["status"] = status
    assert stream.announce(f"customer.subscription.{event}", stream.subscription) == "processed"
    assert (stream.row.status, stream.live_tier()) == (status, "starter")


def test_invoiced_customer_has_the_plan_before_the_invoice_is_paid(stream: EventStream) -> None:
    stream.update(collection_method="send_invoice", days_until_due=30)
    assert (stream.row.status, stream.row.price_cents) == ("active", 2900)
    stream.update(status="past_due")
    assert stream.live_tier() == "starter"


def test_trial_has_its_end(stream: EventStream) -> None:
    stream.update(status="trialing", trial_end=1_790_000_000)
    assert stream.row.trial_end == datetime.fromtimestamp(1_790_000_000, UTC)


def test_cancellation_at_period_end_is_set_and_unset(stream: EventStream) -> None:
    stream.update(cancel_at_period_end=True, cancel_at=1_790_000_000, canceled_at=1_787_000_000)
    assert (stream.row.cancel_at_period_end, stream.row.status, stream.row.canceled_at) == (True, "active", None)
    stream.update(cancel_at_period_end=False, cancel_at=None, canceled_at=None)
    assert not stream.row.cancel_at_period_end


@pytest.mark.parametrize(("periods_later", "ends"), [(0, True), (1, False)])
def test_cancellation_in_the_portal_is_a_moment_without_the_flag(
    stream: EventStream, periods_later: int, ends: bool
) -> None:
    """Flexible billing mode: only a moment up to the end of the period says that no further one begins."""
    start, end = stream.item["current_period_start"], stream.item["current_period_end"]
    stream.update(billing_mode={"type": "flexible"}, cancel_at=end + periods_later * (end - start))
    assert (stream.row.status, stream.row.cancel_at_period_end) == ("active", ends)
    stream.update(cancel_at=None)
    assert not stream.row.cancel_at_period_end


def test_period_is_the_items(stream: EventStream) -> None:
    stream.item.update(current_period_start=1_790_000_000, current_period_end=1_793_000_000)
    stream.update()
    assert stream.row.current_period_start == datetime.fromtimestamp(1_790_000_000, UTC)
    assert stream.row.current_period_end == datetime.fromtimestamp(1_793_000_000, UTC)


def test_period_of_an_older_version_is_the_subscriptions(stream: EventStream) -> None:
    for name in ("current_period_start", "current_period_end"):
        del stream.item[name]
    stream.update(current_period_start=1_790_000_000, current_period_end=1_793_000_000)
    assert stream.row.current_period_end == datetime.fromtimestamp(1_793_000_000, UTC)


def discount(**coupon: Any) -> dict[str, Any]:
    terms = {"id": "co_1", "object": "coupon", "duration": "forever", "percent_off": None, "amount_off": None}
    return {
        "id": "di_1",
        "object": "discount",
        "coupon": None,
        "end": None,
        "source": {"type": "coupon", "coupon": terms | coupon},
    }


@pytest.mark.parametrize(
    ("lookup_key", "quantity", "discounts", "cents"),
    [
        ("starter_monthly", 1, [], 2900),
        ("starter_monthly", 3, [], 8700),
        ("starter_monthly", 0, [], 0),
        ("starter_yearly", 1, [], 2417),
        ("professional_yearly", 2, [], 16500),
        ("starter_monthly", 1, [discount(percent_off=50)], 1450),
        ("starter_monthly", 1, [discount(percent_off=12.5)], 2538),
        ("starter_monthly", 1, [discount(amount_off=900)], 2000),
        ("starter_yearly", 1, [discount(amount_off=5000)], 2000),
        ("starter_monthly", 1, [discount(amount_off=9900)], 0),
        ("starter_monthly", 1, [discount(percent_off=100)], 0),
        ("starter_monthly", 1, [discount(percent_off=50, duration="once")], 2900),
        ("starter_monthly", 1, [discount(percent_off=50, duration="repeating")], 1450),
        ("starter_monthly", 1, [discount(percent_off=50), discount(amount_off=450)], 1000),
    ],
)
def test_price_is_a_months_after_recurring_discounts(
    stream: EventStream, lookup_key: str, quantity: int, discounts: list, cents: int
) -> None:
    stream.item.update(price=price(stream.world, lookup_key), quantity=quantity)
    assert stream.update(discounts=discounts) == "processed"
    assert (stream.row.price_cents, stream.row.quantity) == (cents, quantity)


def test_items_discount_is_taken_from_the_item(stream: EventStream) -> None:
    stream.item["discounts"] = [discount(percent_off=10)]
    stream.update()
    assert stream.row.price_cents == 2610


def test_coupon_for_a_product_leaves_the_other_items_alone(stream: EventStream) -> None:
    """Stripe says which products a coupon is for only to who asks for the coupon itself."""
    add_on = price(stream.world, "professional_monthly")
    stream.world.put(stream.item["price"] | {"id": "price_seat", "product": "prod_seat"})
    stream.world.put(stream.world.objects[stream.item["price"]["product"]] | {"id": "prod_seat"})
    seats = stream.copy_of(stream.item, id="si_seat", price=stream.world.objects["price_seat"], quantity=2)
    other = stream.copy_of(stream.item, id="si_other", price=add_on)
    stream.subscription["items"]["data"] += [seats, other]
    shown = discount(percent_off=50)["source"]["coupon"] | {"id": "co_seat"}
    stream.world.put(shown | {"applies_to": {"products": ["prod_seat"]}})
    stream.update(discounts=[discount() | {"source": {"type": "coupon", "coupon": shown}}])
    assert stream.row.price_cents == 2900 + 2900 + 9900  # half of the two seats


def test_amount_off_is_shared_by_the_items_it_reaches(stream: EventStream) -> None:
    other = stream.copy_of(stream.item, id="si_other", price=price(stream.world, "professional_monthly"))
    stream.subscription["items"]["data"].append(other)
    stream.update(discounts=[discount(amount_off=800), discount(percent_off=50)])
    assert stream.row.price_cents == (2900 + 9900 - 800) // 2


@pytest.mark.parametrize(("days", "cents"), [(-1, 2900), (0, 2900), (1, 1450)])
def test_discount_that_ended_before_the_period_takes_nothing_off(stream: EventStream, days: int, cents: int) -> None:
    ends = stream.item["current_period_start"] + days * 86_400
    stream.update(discounts=[discount(percent_off=50, duration="repeating") | {"end": ends}])
    assert stream.row.price_cents == cents


def test_coupon_that_was_made_anew_under_its_old_id_keeps_its_old_terms_where_it_was_given(stream: EventStream) -> None:
    old, new = (discount(id="SAVE", percent_off=off, created=off) for off in (50, 10))
    stream.world.put(new["source"]["coupon"])
    stream.update(discounts=[old])
    assert stream.row.price_cents == 1450
    stream.update(discounts=[new])
    assert stream.row.price_cents == 2610


@pytest.mark.parametrize(
    ("of_all", "of_item", "cents"),
    [
        ([(16, True)], [], 2500),
        ([(16, False)], [], 2900),
        ([(10, True), (6, True), (5, False)], [], 2500),
        ([(16, True)], [(45, True)], 2000),
    ],
)
def test_tax_within_the_price_is_no_revenue(stream: EventStream, of_all: list, of_item: list, cents: int) -> None:
    stream.item["tax_rates"] = [tax_rate(*rate) for rate in of_item]
    assert stream.update(default_tax_rates=[tax_rate(*rate) for rate in of_all]) == "processed"
    assert stream.row.price_cents == cents


def tax_rate(percentage: float, inclusive: bool) -> dict[str, Any]:
    return {
        "id": f"txr_{percentage}",
        "object": "tax_rate",
        "active": True,
        "created": 1_790_000_000,
        "description": None,
        "display_name": "VAT",
        "inclusive": inclusive,
        "jurisdiction": "DE",
        "livemode": False,
        "metadata": {},
        "percentage": percentage,
    }


def test_subscription_whose_customer_is_expanded_is_handled(stream: EventStream) -> None:
    assert stream.update(customer=dict(stream.customer), cancel_at_period_end=True) == "processed"
    assert stream.row.cancel_at_period_end


def test_spaces_around_an_address_are_not_part_of_it(stream: EventStream) -> None:
    stream.customer["email"] = " mara@new.example "
    stream.announce("customer.updated", stream.customer)
    assert stream.user.email == "mara@new.example"


def test_discount_of_the_customer_holds_where_the_subscription_has_none(stream: EventStream) -> None:
    stream.customer["discount"] = discount(percent_off=10) | {"customer": stream.customer["id"]}
    assert stream.announce("customer.discount.created", stream.customer["discount"]) == "processed"
    assert stream.row.price_cents == 2610
    stream.update(discounts=[discount(percent_off=50)])
    assert stream.row.price_cents == 1450
    gone = stream.customer.pop("discount")
    stream.update(discounts=[])
    stream.announce("customer.discount.deleted", gone)
    assert stream.row.price_cents == 2900


@pytest.mark.parametrize(
    ("recurring", "cents"),
    [
        ({"interval": "month", "interval_count": 3}, 967),
        ({"interval": "week", "interval_count": 1}, 12601),
        ({"interval": "day", "interval_count": 30}, 2940),
        ({"interval": "month", "interval_count": 1, "usage_type": "metered"}, 0),
    ],
)
def test_other_intervals_are_normalised(stream: EventStream, recurring: dict[str, Any], cents: int) -> None:
    stream.item["price"] = stream.item["price"] | {"recurring": recurring}
    stream.update()
    assert (stream.row.price_cents, stream.row.interval) == (cents, recurring["interval"])


def test_twelve_items_count_beyond_the_page(stream: EventStream) -> None:
    """Stripe cuts the nested list at ten; the tier is the highest of all, the price the sum."""
    add_on = price(stream.world, "starter_monthly")
    items = [
        stream.copy_of(stream.item, id=f"si_{n:02}", price=add_on, created=stream.item["created"] - n)
        for n in range(11)
    ]
    last = stream.copy_of(
        stream.item, id="si_11", price=price(stream.world, "professional_monthly"), created=stream.item["created"] - 99
    )
    stream.subscription["items"] |= {"data": items[:10], "has_more": True}
    stream.world.forget(stream.recording.objects[stream.subscription["id"]]["items"]["data"][0]["id"])
    assert stream.update() == "processed"
    assert (stream.row.tier, stream.row.stripe_price_id) == ("professional", last["price"]["id"])
    assert stream.row.price_cents == 11 * 2900 + 9900


def test_second_subscription_is_kept_as_a_duplicate_until_the_first_ends(stream: EventStream) -> None:
    second = stream.copy_of(stream.subscription, id="sub_second", created=stream.subscription["created"] + 60)
    second["items"]["data"][0].update(id="si_second", price=price(stream.world, "professional_monthly"))
    stream.announce("customer.subscription.created", second)
    higher = Subscription.objects.get(stripe_subscription_id="sub_second")
    assert (stream.row.is_duplicate, higher.is_duplicate, stream.live_tier()) == (True, False, "professional")

    second.update(status="canceled", ended_at=second["created"] + 100)
    stream.announce("customer.subscription.deleted", second)
    assert (stream.row.is_duplicate, stream.live_tier()) == (False, "starter")
    assert Subscription.objects.filter(user=stream.user, tier="free", status="active").count() == 0


def test_lower_second_subscription_never_counts(stream: EventStream) -> None:
    stream.item["price"] = price(stream.world, "professional_monthly")
    stream.update()
    second = stream.copy_of(stream.subscription, id="sub_second")
    second["items"]["data"][0].update(id="si_second", price=price(stream.world, "starter_monthly"))
    stream.announce("customer.subscription.created", second)
    assert Subscription.objects.get(stripe_subscription_id="sub_second").is_duplicate
    assert stream.live_tier() == "professional"


def test_lookup_key_names_the_tier_where_metadata_does_not(stream: EventStream) -> None:
    stream.item["price"] = stream.item["price"] | {"metadata": {}, "lookup_key": "enterprise_yearly"}
    stream.update()
    assert stream.live_tier() == "enterprise"


def test_supports_mapping_wins_over_metadata(stream: EventStream) -> None:
    PlanPrice.objects.create(stripe_price_id=stream.item["price"]["id"], tier="enterprise")
    stream.update()
    assert stream.live_tier() == "enterprise"


def test_price_that_sells_another_plan_at_stripe_moves_who_has_it(stream: EventStream) -> None:
    changed = stream.item["price"] | {"metadata": {"tier": "professional"}}
    stream.item["price"] = changed
    stream.world.put(changed)
    assert stream.announce("price.updated", changed) == "processed"
    (task,) = resyncs()
    tasks.resync_customer(*task.args())
    assert stream.live_tier() == "professional"
    OrmQ.objects.all().delete()
    stream.announce("price.updated", changed)
    assert resyncs() == []


def resyncs() -> list[OrmQ]:
    return [task for task in OrmQ.objects.all() if task.func() == "billing.tasks.resync_customer"]


def test_limit_set_by_support_stays_while_the_plan_does(stream: EventStream) -> None:
    Subscription.objects.filter(pk=stream.row.pk).update(monthly_request_limit=12_345)
    stream.update(cancel_at_period_end=True)
    assert stream.row.monthly_request_limit == 12_345
    stream.item["price"] = price(stream.world, "professional_monthly")
    stream.update()
    assert stream.row.monthly_request_limit == 100_000


def test_customer_is_renamed_and_moves_to_another_address(stream: EventStream) -> None:
    stream.customer.update(name="Zoë Ødegård 字形", email="ZOE@example.com")
    stream.announce("customer.updated", stream.customer)
    assert (stream.user.name, stream.user.email) == ("Zoë Ødegård 字形", "ZOE@example.com")


def test_address_of_somebody_else_is_not_taken(stream: EventStream) -> None:
    factories.customer(email="taken@example.com")
    stream.customer["email"] = "Taken@Example.com"
    assert stream.announce("customer.updated", stream.customer) == "failed"
    assert "already belongs to another customer" in last_error()


@pytest.mark.parametrize("email", [None, "", "not an address"])
def test_customer_without_a_usable_address_has_none(world: StripeWorld, email: str | None) -> None:
    stream = EventStream(world)
    stream.customer["email"] = email
    stream.signed_up()
    assert stream.user.email is None
    assert stream.live_tier() == "starter"


def test_deleted_customer_keeps_payments_and_loses_everything_else(stream: EventStream) -> None:
    stream.world.delete_customer(stream.customer["id"])
    for event in stream.world.events[-2:]:
        assert stream.deliver(event) == "processed"
    user = User.objects.get(stripe_customer_id=stream.customer["id"])
    assert (user.status, user.email, user.name) == ("deleted", None, "")
    assert not user.subscriptions.filter(status__in=Subscription.LIVE).exists()
    assert user.payments.count() == 1
    assert Tombstone.objects.filter(pk=stream.customer["id"]).exists()


def test_late_update_does_not_revive_a_deleted_customer(stream: EventStream) -> None:
    """Even one that is answered by a replica of Stripe's that has not heard of the deletion."""
    before = dict(stream.customer)
    stream.world.delete_customer(stream.customer["id"])
    stream.deliver(stream.world.events[-1])
    stream.world.put(before)
    assert stream.announce("customer.updated", before) == "processed"
    assert User.objects.get(stripe_customer_id=before["id"]).status == "deleted"


def test_deleted_customer_with_a_sign_in_keeps_name_and_address(stream: EventStream) -> None:
    User.objects.filter(pk=stream.user.pk).update(cognito_user_id="sub-1")
    email = stream.user.email
    stream.world.delete_customer(stream.customer["id"])
    for event in stream.world.events[-2:]:
        stream.deliver(event)
    user = User.objects.get(cognito_user_id="sub-1")
    assert (user.status, user.email) == ("deleted", email)
