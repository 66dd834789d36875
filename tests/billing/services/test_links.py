"""Linking customers at Stripe to users, taking it back, and choosing the primary one."""

from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.admin.utils import quote
from django.db.models import Sum
from django.test import Client

from billing.models import (
    Difference,
    Payment,
    StripeCustomer,
    Subscription,
    UnmatchedCustomer,
    User,
    WebhookEvent,
)
from billing.services import customers
from demo.stripe.server import StripeServer
from glyphforge.audit.models import AuditEntry
from glyphforge.errors import Refused
from glyphforge.rows import Json
from tests.support import factories
from tests.support.admin_pages import CONFIRMED, page_of, row_page
from tests.support.event_stream import EventStream, process_pending
from tests.support.sql import query, scalar

pytestmark = pytest.mark.django_db
WHO = {"actor": "ada", "reason": "asked by the customer"}


@pytest.fixture
def second(stream: EventStream) -> Json:
    """A second customer at Stripe of the same address, with a professional subscription: its events wait."""
    created = stream.customer["created"] + 1
    customer = stream.copy_of(stream.customer, id="cus_b", created=created, name="Second")
    stream.copy_of(stream.subscription, id="sub_b", customer="cus_b", created=stream.subscription["created"] + 1)
    subscription = stream.world.objects["sub_b"]
    subscription["items"]["data"][0]["price"] = professional(stream)
    stream.copy_of(
        stream.charge, id="ch_b", customer="cus_b", payment_intent=None, invoice=None, amount=9900, amount_captured=9900
    )
    for kind, item in (
        ("customer.created", customer),
        ("customer.subscription.created", subscription),
        ("charge.succeeded", stream.world.objects["ch_b"]),
    ):
        assert stream.announce(kind, item) == "failed"
    return customer


def professional(stream: EventStream) -> Json:
    found = [item for item in stream.world.objects.values() if item.get("lookup_key") == "professional_monthly"]
    return (
        found[0]
        if found
        else stream.item["price"]
        | {"id": "price_pro", "unit_amount": 9900, "unit_amount_decimal": "9900", "metadata": {"tier": "professional"}}
    )


def operation(link: StripeCustomer, name: str) -> str:
    return page_of(StripeCustomer, name, quote(link.pk))


def figures(user: User) -> dict[str, Any]:
    """Everything that follows the customer: what the user has, and what the company has of it."""
    live = user.subscriptions.filter(status__in=Subscription.LIVE, is_duplicate=False).get()
    return {
        "tier": live.tier,
        "mrr": live.price_cents,
        "paid": user.payments.aggregate(paid=Sum("amount_cents"))["paid"],
        "ledger": scalar("SELECT coalesce(sum(amount_cents), 0) FROM mrr_movements WHERE user_id = %s", user.pk),
    }


def totals() -> list[dict[str, Any]]:
    """What the company has."""
    return query("SELECT mrr_cents, paying_customers, revenue_this_month_cents FROM v_revenue_metrics")


def test_customer_is_linked_beside_the_present_one(stream: EventStream, second: Json) -> None:
    user, before = stream.user, figures(stream.user)
    customers.link_customer("cus_b", user, **WHO)
    process_pending()
    user.refresh_from_db()
    assert (user.stripe_customer_id, user.name) == (stream.customer["id"], stream.customer["name"])
    assert figures(user)["tier"] == "professional"
    assert figures(user)["paid"] == before["paid"] + 9900
    assert set(WebhookEvent.objects.values_list("status", flat=True)) == {"processed"}
    assert not UnmatchedCustomer.objects.exists()
    assert stream.world.objects["cus_b"]["metadata"] == {"user_id": str(user.pk)}
    link = StripeCustomer.objects.get(pk="cus_b")
    assert (link.linked_by, link.is_primary, link.user) == ("ada", False, user)


def test_returning_buyer_goes_on_with_the_new_customer(
    stream: EventStream, second: Json, signed_in: Callable[[str], Client]
) -> None:
    stream.update(status="canceled", canceled_at=stream.subscription["created"] + 60)
    user = stream.user
    client = signed_in("billing_lead")
    unmatched = UnmatchedCustomer.objects.get()
    assert str(user.email) in client.get(row_page(unmatched)).content.decode()
    page = row_page(unmatched, "link_primary")
    assert str(user.email) in client.get(page).content.decode()  # offered
    answer = client.post(page, CONFIRMED | {"email": str(user.email)}, follow=True)
    assert answer.redirect_chain[-1][0] == page_of(User, "change", user.pk)
    assert "doesn" not in answer.content.decode()
    process_pending()
    user.refresh_from_db()
    assert (user.stripe_customer_id, user.name) == ("cus_b", "Second")
    assert figures(user)["tier"] == "professional"
    assert set(user.payments.values_list("stripe_charge_id", flat=True)) == {stream.charge["id"], "ch_b"}


def test_undone_link_takes_all_of_the_customer_along_and_loses_nothing(stream: EventStream, second: Json) -> None:
    user, before = stream.user, figures(stream.user)
    customers.link_customer("cus_b", user, **WHO)
    process_pending()
    linked, sums = figures(user), totals()
    customers.unlink_customer("cus_b", **WHO)
    assert figures(user) == before
    assert totals()[0]["mrr_cents"] == before["mrr"] + 9900
    assert totals()[0]["revenue_this_month_cents"] == sums[0]["revenue_this_month_cents"]
    unmatched = UnmatchedCustomer.objects.get()
    assert (unmatched.pk, unmatched.email) == ("cus_b", second["email"])
    assert "asked by the customer" in unmatched.reason
    holder = StripeCustomer.objects.get(pk="cus_b").user
    assert holder != user
    assert (figures(holder)["tier"], figures(holder)["paid"], holder.email) == ("professional", 9900, None)
    assert stream.world.objects["cus_b"]["metadata"] == {}
    # What comes of it afterwards is nobody else's.
    assert stream.announce("customer.updated", second) == "processed"
    assert stream.announce("customer.subscription.updated", stream.world.objects["sub_b"]) == "processed"
    assert figures(user) == before
    # And linked again it is all there again.
    customers.link_customer("cus_b", user, **WHO)
    process_pending()
    assert figures(user) == linked
    assert not User.objects.filter(pk=holder.pk).exists()
    assert {"link_customer", "unlink_customer"} <= set(
        AuditEntry.objects.filter(table_name="users", row_id=str(user.pk), actor="ada").values_list("action", flat=True)
    )


def test_unlinked_customer_becomes_a_customer_of_its_own(stream: EventStream, second: Json) -> None:
    customers.link_customer("cus_b", stream.user, **WHO)
    customers.unlink_customer("cus_b", **WHO)
    made = customers.create_customer("cus_b", email="second@example.com", **WHO)
    made.refresh_from_db()
    assert (made.email, figures(made)["tier"], made.stripe_customer_id) == (
        "second@example.com",
        "professional",
        "cus_b",
    )
    assert User.objects.count() == 2


def test_user_whose_only_customer_is_unlinked_has_the_free_plan(stream: EventStream) -> None:
    user = stream.user
    customers.unlink_customer(stream.customer["id"], **WHO)
    user.refresh_from_db()
    assert (user.stripe_customer_id, figures(user)["tier"], user.status) == (None, "free", "active")
    assert Payment.objects.get().user != user
    with pytest.raises(Refused, match="linked to nobody"):
        customers.unlink_customer(stream.customer["id"], **WHO)


def test_unlinking_that_stripe_does_not_answer_changes_nothing(
    stream: EventStream, stripe_server: StripeServer
) -> None:
    user, before = stream.user, figures(stream.user)
    stripe_server.intercept = lambda method, path: (503, {"error": {"message": "maintenance"}}, {})
    with pytest.raises(Refused, match="Nothing was changed"):
        customers.unlink_customer(stream.customer["id"], **WHO)
    assert (stream.user, figures(user)) == (user, before)
    assert not UnmatchedCustomer.objects.exists()


def test_primary_customer_that_was_chosen_stays_it_when_an_older_one_comes(stream: EventStream, second: Json) -> None:
    user = stream.user
    customers.link_customer("cus_b", user, **WHO)
    assert customers.make_primary("cus_b", **WHO).name == "Second"
    with pytest.raises(Refused, match="already"):
        customers.make_primary("cus_b", **WHO)
    old = stream.copy_of(second, id="cus_old", created=1, metadata={"user_id": str(user.pk)})
    assert stream.announce("customer.created", old) == "processed"
    user.refresh_from_db()
    assert (user.stripe_customer_id, user.stripe_customers.count()) == ("cus_b", 3)


def test_page_shows_all_customers_at_stripe_and_what_may_be_done(
    stream: EventStream, second: Json, signed_in: Callable[[str], Client]
) -> None:
    user = stream.user
    customers.link_customer("cus_b", user, **WHO)
    client = signed_in("billing_lead")
    page = client.get(row_page(user)).content.decode()
    link = StripeCustomer.objects.get(pk="cus_b")
    for shown in ("cus_b", stream.customer["id"], operation(link, "make_primary"), operation(link, "unlink"), "ch_b"):
        assert shown in page
    assert client.post(operation(link, "unlink"), CONFIRMED, follow=True).status_code == 200
    assert UnmatchedCustomer.objects.exists()
    assert "cus_b" in client.get(row_page(user)).content.decode()  # in the timeline


@pytest.mark.parametrize("decision", ["move", "keep"])
def test_support_decides_on_metadata_that_was_changed(
    stream: EventStream, signed_in: Callable[[str], Client], decision: str
) -> None:
    user, other = stream.user, factories.customer()
    StripeCustomer.objects.update(ownership="known")
    stream.customer["metadata"] = {"user_id": str(other.pk)}
    stream.announce("customer.updated", stream.customer)
    difference = Difference.objects.get()
    answer = signed_in("billing_lead").post(row_page(difference, decision), CONFIRMED, follow=True)
    assert answer.status_code == 200
    process_pending()
    owner, loser = (other, user) if decision == "move" else (user, other)
    assert figures(owner)["tier"] == "starter"
    assert figures(loser)["tier"] == "free"
    assert Payment.objects.get().user == owner
    assert stream.customer["metadata"] == {"user_id": str(owner.pk)}
    difference.refresh_from_db()
    assert difference.status == "repaired"
    stream.announce("customer.updated", stream.customer)
    assert not Difference.objects.filter(status="open").exists()


def test_unlinked_customer_whose_metadata_names_somebody_since_goes_to_them(stream: EventStream, second: Json) -> None:
    customers.link_customer("cus_b", stream.user, **WHO)
    customers.unlink_customer("cus_b", **WHO)
    other = factories.customer()
    second["metadata"] = {"user_id": str(other.pk)}
    assert stream.announce("customer.updated", second) == "processed"
    assert figures(other)["tier"] == "professional"
    assert StripeCustomer.objects.get(pk="cus_b").user == other
    assert not UnmatchedCustomer.objects.exists()
