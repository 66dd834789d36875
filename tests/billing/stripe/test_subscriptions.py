"""Stripe's subscriptions and customers as rows, in every state that Stripe knows."""

from datetime import UTC, datetime
from typing import Any

import pytest
from django_q.models import OrmQ

from billing import tasks
from billing.demo.stripe_world import StripeWorld
from billing.models import PlanPrice, Subscription, Tombstone, User
from tests import factories
from tests.billing.stripe.story import Story, last_error, price

pytestmark = pytest.mark.django_db


@pytest.fixture
def story(world: StripeWorld) -> Story:
    return Story(world).signed_up()


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
def test_status_decides_whether_the_free_tier_is_back(story: Story, status: str, entitled: str) -> None:
    assert story.update(status=status, ended_at=1_790_000_000 if status == "canceled" else None) == "processed"
    assert (story.row.status, story.live_tier()) == (status, entitled)
    assert story.update(status="active", ended_at=None) == "processed"
    assert story.live_tier() == "starter"
    assert story.row.canceled_at is None


def test_paused_collection_keeps_the_subscription_active(story: Story) -> None:
    story.update(pause_collection={"behavior": "void", "resumes_at": None})
    assert (story.row.status, story.live_tier()) == ("active", "starter")


@pytest.mark.parametrize(("event", "status"), [("paused", "paused"), ("resumed", "active")])
def test_pausing_and_resuming_are_followed(story: Story, event: str, status: str) -> None:
    story.subscription["status"] = status
    assert story.announce(f"customer.subscription.{event}", story.subscription) == "processed"
    assert (story.row.status, story.live_tier()) == (status, "starter")


def test_invoiced_customer_has_the_tier_before_the_invoice_is_paid(story: Story) -> None:
    story.update(collection_method="send_invoice", days_until_due=30)
    assert (story.row.status, story.row.price_cents) == ("active", 2900)
    story.update(status="past_due")
    assert story.live_tier() == "starter"


def test_trial_has_its_end(story: Story) -> None:
    story.update(status="trialing", trial_end=1_790_000_000)
    assert story.row.trial_end == datetime.fromtimestamp(1_790_000_000, UTC)


def test_cancellation_at_period_end_is_set_and_unset(story: Story) -> None:
    story.update(cancel_at_period_end=True, cancel_at=1_790_000_000, canceled_at=1_787_000_000)
    assert (story.row.cancel_at_period_end, story.row.status, story.row.canceled_at) == (True, "active", None)
    story.update(cancel_at_period_end=False, cancel_at=None, canceled_at=None)
    assert not story.row.cancel_at_period_end


@pytest.mark.parametrize(("periods_later", "ends"), [(0, True), (1, False)])
def test_cancellation_in_the_portal_is_a_moment_without_the_flag(story: Story, periods_later: int, ends: bool) -> None:
    """Flexible billing mode: only a moment up to the end of the period says that no further one begins."""
    start, end = story.item["current_period_start"], story.item["current_period_end"]
    story.update(billing_mode={"type": "flexible"}, cancel_at=end + periods_later * (end - start))
    assert (story.row.status, story.row.cancel_at_period_end) == ("active", ends)
    story.update(cancel_at=None)
    assert not story.row.cancel_at_period_end


def test_period_is_the_items(story: Story) -> None:
    story.item.update(current_period_start=1_790_000_000, current_period_end=1_793_000_000)
    story.update()
    assert story.row.current_period_start == datetime.fromtimestamp(1_790_000_000, UTC)
    assert story.row.current_period_end == datetime.fromtimestamp(1_793_000_000, UTC)


def test_period_of_an_older_version_is_the_subscriptions(story: Story) -> None:
    for name in ("current_period_start", "current_period_end"):
        del story.item[name]
    story.update(current_period_start=1_790_000_000, current_period_end=1_793_000_000)
    assert story.row.current_period_end == datetime.fromtimestamp(1_793_000_000, UTC)


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
    story: Story, lookup_key: str, quantity: int, discounts: list, cents: int
) -> None:
    story.item.update(price=price(story.world, lookup_key), quantity=quantity)
    assert story.update(discounts=discounts) == "processed"
    assert (story.row.price_cents, story.row.quantity) == (cents, quantity)


def test_items_discount_is_taken_from_the_item(story: Story) -> None:
    story.item["discounts"] = [discount(percent_off=10)]
    story.update()
    assert story.row.price_cents == 2610


def test_coupon_for_a_product_leaves_the_other_items_alone(story: Story) -> None:
    """Stripe says which products a coupon is for only to who asks for the coupon itself."""
    add_on = price(story.world, "professional_monthly")
    story.world.put(story.item["price"] | {"id": "price_seat", "product": "prod_seat"})
    story.world.put(story.world.objects[story.item["price"]["product"]] | {"id": "prod_seat"})
    seats = story.copy_of(story.item, id="si_seat", price=story.world.objects["price_seat"], quantity=2)
    other = story.copy_of(story.item, id="si_other", price=add_on)
    story.subscription["items"]["data"] += [seats, other]
    shown = discount(percent_off=50)["source"]["coupon"] | {"id": "co_seat"}
    story.world.put(shown | {"applies_to": {"products": ["prod_seat"]}})
    story.update(discounts=[discount() | {"source": {"type": "coupon", "coupon": shown}}])
    assert story.row.price_cents == 2900 + 2900 + 9900  # half of the two seats


def test_amount_off_is_shared_by_the_items_it_reaches(story: Story) -> None:
    other = story.copy_of(story.item, id="si_other", price=price(story.world, "professional_monthly"))
    story.subscription["items"]["data"].append(other)
    story.update(discounts=[discount(amount_off=800), discount(percent_off=50)])
    assert story.row.price_cents == (2900 + 9900 - 800) // 2


@pytest.mark.parametrize(("days", "cents"), [(-1, 2900), (0, 2900), (1, 1450)])
def test_discount_that_ended_before_the_period_takes_nothing_off(story: Story, days: int, cents: int) -> None:
    ends = story.item["current_period_start"] + days * 86_400
    story.update(discounts=[discount(percent_off=50, duration="repeating") | {"end": ends}])
    assert story.row.price_cents == cents


def test_coupon_that_was_made_anew_under_its_old_id_keeps_its_old_terms_where_it_was_given(story: Story) -> None:
    old, new = (discount(id="SAVE", percent_off=off, created=off) for off in (50, 10))
    story.world.put(new["source"]["coupon"])
    story.update(discounts=[old])
    assert story.row.price_cents == 1450
    story.update(discounts=[new])
    assert story.row.price_cents == 2610


@pytest.mark.parametrize(
    ("of_all", "of_item", "cents"),
    [
        ([(16, True)], [], 2500),
        ([(16, False)], [], 2900),
        ([(10, True), (6, True), (5, False)], [], 2500),
        ([(16, True)], [(45, True)], 2000),
    ],
)
def test_tax_within_the_price_is_no_revenue(story: Story, of_all: list, of_item: list, cents: int) -> None:
    story.item["tax_rates"] = [tax_rate(*rate) for rate in of_item]
    assert story.update(default_tax_rates=[tax_rate(*rate) for rate in of_all]) == "processed"
    assert story.row.price_cents == cents


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


def test_subscription_whose_customer_is_expanded_is_followed(story: Story) -> None:
    assert story.update(customer=dict(story.customer), cancel_at_period_end=True) == "processed"
    assert story.row.cancel_at_period_end


def test_spaces_around_an_address_are_not_part_of_it(story: Story) -> None:
    story.customer["email"] = " mara@new.example "
    story.announce("customer.updated", story.customer)
    assert story.user.email == "mara@new.example"


def test_discount_of_the_customer_holds_where_the_subscription_has_none(story: Story) -> None:
    story.customer["discount"] = discount(percent_off=10) | {"customer": story.customer["id"]}
    assert story.announce("customer.discount.created", story.customer["discount"]) == "processed"
    assert story.row.price_cents == 2610
    story.update(discounts=[discount(percent_off=50)])
    assert story.row.price_cents == 1450
    gone = story.customer.pop("discount")
    story.update(discounts=[])
    story.announce("customer.discount.deleted", gone)
    assert story.row.price_cents == 2900


@pytest.mark.parametrize(
    ("recurring", "cents"),
    [
        ({"interval": "month", "interval_count": 3}, 967),
        ({"interval": "week", "interval_count": 1}, 12601),
        ({"interval": "day", "interval_count": 30}, 2940),
        ({"interval": "month", "interval_count": 1, "usage_type": "metered"}, 0),
    ],
)
def test_other_intervals_are_normalised(story: Story, recurring: dict[str, Any], cents: int) -> None:
    story.item["price"] = story.item["price"] | {"recurring": recurring}
    story.update()
    assert (story.row.price_cents, story.row.interval) == (cents, recurring["interval"])


def test_twelve_items_count_beyond_the_page(story: Story) -> None:
    """Stripe cuts the nested list at ten; the tier is the highest of all, the price the sum."""
    add_on = price(story.world, "starter_monthly")
    items = [
        story.copy_of(story.item, id=f"si_{n:02}", price=add_on, created=story.item["created"] - n) for n in range(11)
    ]
    last = story.copy_of(
        story.item, id="si_11", price=price(story.world, "professional_monthly"), created=story.item["created"] - 99
    )
    story.subscription["items"] |= {"data": items[:10], "has_more": True}
    story.world.forget(story.recording.objects[story.subscription["id"]]["items"]["data"][0]["id"])
    assert story.update() == "processed"
    assert (story.row.tier, story.row.stripe_price_id) == ("professional", last["price"]["id"])
    assert story.row.price_cents == 11 * 2900 + 9900


def test_second_subscription_is_kept_as_a_duplicate_until_the_first_ends(story: Story) -> None:
    second = story.copy_of(story.subscription, id="sub_second", created=story.subscription["created"] + 60)
    second["items"]["data"][0].update(id="si_second", price=price(story.world, "professional_monthly"))
    story.announce("customer.subscription.created", second)
    higher = Subscription.objects.get(stripe_subscription_id="sub_second")
    assert (story.row.is_duplicate, higher.is_duplicate, story.live_tier()) == (True, False, "professional")

    second.update(status="canceled", ended_at=second["created"] + 100)
    story.announce("customer.subscription.deleted", second)
    assert (story.row.is_duplicate, story.live_tier()) == (False, "starter")
    assert Subscription.objects.filter(user=story.user, tier="free", status="active").count() == 0


def test_lower_second_subscription_never_counts(story: Story) -> None:
    story.item["price"] = price(story.world, "professional_monthly")
    story.update()
    second = story.copy_of(story.subscription, id="sub_second")
    second["items"]["data"][0].update(id="si_second", price=price(story.world, "starter_monthly"))
    story.announce("customer.subscription.created", second)
    assert Subscription.objects.get(stripe_subscription_id="sub_second").is_duplicate
    assert story.live_tier() == "professional"


def test_lookup_key_names_the_tier_where_metadata_does_not(story: Story) -> None:
    story.item["price"] = story.item["price"] | {"metadata": {}, "lookup_key": "enterprise-2027"}
    story.update()
    assert story.live_tier() == "enterprise"


def test_supports_mapping_wins_over_metadata(story: Story) -> None:
    PlanPrice.objects.create(stripe_price_id=story.item["price"]["id"], plan_id="enterprise")
    story.update()
    assert story.live_tier() == "enterprise"


def test_price_that_sells_another_tier_at_stripe_moves_who_has_it(story: Story) -> None:
    changed = story.item["price"] | {"metadata": {"tier": "professional"}}
    story.item["price"] = changed
    story.world.put(changed)
    assert story.announce("price.updated", changed) == "processed"
    (task,) = resyncs()
    tasks.resync_customer(*task.args())
    assert story.live_tier() == "professional"
    OrmQ.objects.all().delete()
    story.announce("price.updated", changed)
    assert resyncs() == []


def resyncs() -> list[OrmQ]:
    return [task for task in OrmQ.objects.all() if task.func() == "billing.tasks.resync_customer"]


def test_limit_set_by_support_stays_while_the_tier_does(story: Story) -> None:
    Subscription.objects.filter(pk=story.row.pk).update(monthly_request_limit=12_345)
    story.update(cancel_at_period_end=True)
    assert story.row.monthly_request_limit == 12_345
    story.item["price"] = price(story.world, "professional_monthly")
    story.update()
    assert story.row.monthly_request_limit == 100_000


def test_customer_is_renamed_and_moves_to_another_address(story: Story) -> None:
    story.customer.update(name="Zoë Ødegård 字形", email="ZOE@example.com")
    story.announce("customer.updated", story.customer)
    assert (story.user.name, story.user.email) == ("Zoë Ødegård 字形", "ZOE@example.com")


def test_address_of_somebody_else_is_not_taken(story: Story) -> None:
    factories.customer(email="taken@example.com")
    story.customer["email"] = "Taken@Example.com"
    assert story.announce("customer.updated", story.customer) == "failed"
    assert "already belongs to another user" in last_error()


@pytest.mark.parametrize("email", [None, "", "not an address"])
def test_customer_without_a_usable_address_has_none(world: StripeWorld, email: str | None) -> None:
    story = Story(world)
    story.customer["email"] = email
    story.signed_up()
    assert story.user.email is None
    assert story.live_tier() == "starter"


def test_deleted_customer_keeps_payments_and_loses_everything_else(story: Story) -> None:
    story.world.delete_customer(story.customer["id"])
    for event in story.world.events[-2:]:
        assert story.deliver(event) == "processed"
    user = User.objects.get(stripe_customer_id=story.customer["id"])
    assert (user.status, user.email, user.name) == ("deleted", None, "")
    assert not user.subscriptions.filter(status__in=Subscription.LIVE).exists()
    assert user.payments.count() == 1
    assert Tombstone.objects.filter(pk=story.customer["id"]).exists()


def test_late_update_does_not_revive_a_deleted_customer(story: Story) -> None:
    """Even one that is answered by a replica of Stripe's that has not heard of the deletion."""
    before = dict(story.customer)
    story.world.delete_customer(story.customer["id"])
    story.deliver(story.world.events[-1])
    story.world.put(before)
    assert story.announce("customer.updated", before) == "processed"
    assert User.objects.get(stripe_customer_id=before["id"]).status == "deleted"


def test_deleted_user_with_a_sign_in_keeps_name_and_address(story: Story) -> None:
    User.objects.filter(pk=story.user.pk).update(cognito_user_id="sub-1")
    email = story.user.email
    story.world.delete_customer(story.customer["id"])
    for event in story.world.events[-2:]:
        story.deliver(event)
    user = User.objects.get(cognito_user_id="sub-1")
    assert (user.status, user.email) == ("deleted", email)
