"""The customer page: everything, in few queries, for those who may see it."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from billing.models import User
from billing.services import accounts, notes
from tests.support import factories

pytestmark = [pytest.mark.django_db, pytest.mark.one_day]
QUERIES = 24  # one writes down who looked, one finds the session


@pytest.fixture
def ada() -> User:
    user = factories.customer(email="ada@example.com", name="Ada Lovelace", stripe_customer_id="cus_ada")
    factories.subscription(user)
    for number in range(30):
        factories.payment(user, amount_cents=1000 + number)
        factories.webhook_event(payload={"data": {"object": {"customer": "cus_ada"}}})
    for _ in range(5):
        factories.issued_key(user)
    factories.requests(user, 2)
    factories.requests(user, status_code=500)
    return user


def page_of(user: User) -> str:
    return reverse("admin:billing_user_change", args=[user.pk])


def test_page_shows_everything_within_its_queries(signed_in: Callable[[str], Client], ada: User) -> None:
    notes.add(ada, author="grace", body="Prefers to be called.")
    accounts.suspend(ada, actor="grace", reason="Chargebacks")
    support = signed_in("support")
    with CaptureQueriesContext(connection) as queries:
        response = support.get(page_of(ada))
    assert len(queries) <= QUERIES, [query["sql"][:150] for query in queries]
    page = response.content.decode()
    for shown in (
        "Ada Lovelace",
        "ada@example.com",
        "cus_ada",
        "29.00 USD",  # a month
        "304.35 USD",  # paid so far
        "Account suspended",
        "https://dashboard.stripe.com/test/customers/cus_ada",
        "https://pay.stripe.com/receipts/1",
        "invoice.paid",
        "Prefers to be called.",
        "Chargebacks",
        "glyph_sk_live_",
    ):
        assert shown in page, shown
    usage = response.context["usage"]
    assert (usage.used, usage.failed, usage.limit, usage.percent) == (3, 1, 10_000, 0)


def test_the_live_subscription_is_shown_behind_any_number_of_later_ones(
    signed_in: Callable[[str], Client], ada: User
) -> None:
    live = ada.subscriptions.get(status="active")
    for _ in range(11):
        factories.subscription(ada, status="canceled", canceled_at=timezone.now())
    response = signed_in("support").get(page_of(ada))
    assert response.context["live"]["row"] == live


def test_page_costs_the_same_however_much_there_is(signed_in: Callable[[str], Client], ada: User) -> None:
    support = signed_in("support")
    support.get(page_of(ada))
    with CaptureQueriesContext(connection) as many:
        support.get(page_of(ada))
    with CaptureQueriesContext(connection) as few:
        support.get(page_of(factories.customer(stripe_customer_id="cus_new")))
    assert len(few) - 3 <= len(many) <= len(few) + 1  # making the customer is among the few


def test_open_alerts_about_the_customer_and_only_those_are_shown(signed_in: Callable[[str], Client], ada: User) -> None:
    for user, message in ((ada, "95 % used"), (factories.customer(), "Not Ada's")):
        factories.alert(fingerprint=f"users_near_limit:{user.pk}", alert_type="users_near_limit", message=message)
    page = signed_in("support").get(page_of(ada)).content.decode()
    assert "95 % used" in page
    assert "Not Ada" not in page


def test_days_of_usage_come_from_the_folded_days(signed_in: Callable[[str], Client], ada: User) -> None:
    day = (timezone.now() - timedelta(days=3)).date()
    with connection.cursor() as cursor:
        cursor.execute("INSERT INTO traffic_user_days VALUES (%s, %s, 120, 20)", [day, ada.pk])
    usage = signed_in("support").get(page_of(ada)).context["usage"]
    assert usage.summary == "API requests of the last 90 days: 120, of which 20 failed."


def test_live_subscription_comes_first_however_many_came_after_it(signed_in: Callable[[str], Client]) -> None:
    user = factories.customer()
    live = factories.subscription(user)
    for _ in range(11):
        factories.subscription(user, status="incomplete_expired")
    context = signed_in("support").get(page_of(user)).context
    assert context["live"]["row"] == live
    assert context["subscriptions"][0]["row"] == live


def test_customer_of_one_day_is_not_of_one_days(signed_in: Callable[[str], Client], ada: User) -> None:
    User.objects.update(created_at=timezone.now() - timedelta(days=1, hours=1))
    assert signed_in("support").get(page_of(ada)).context["facts"][-1][-1] == "1 day ago"


def test_each_role_is_offered_what_it_may(signed_in: Callable[[str], Client], ada: User) -> None:
    def offered(role: str) -> set[str]:
        context: Any = signed_in(role).get(page_of(ada)).context
        return {
            offer["operation"].name
            for offers in (
                context["row_operations"],
                context["live"]["offers"],
                context["keys"][0]["offers"],
                context["payments"][0]["offers"],
                context["stripe_customers"][0]["offers"],
            )
            for offer in offers
        }

    assert offered("auditor") == set()
    assert offered("support") == {"note", "create_key", "sync", "rotate", "revoke"}
    assert offered("operator") == {"note", "sync", "suspend", "revoke"}
    assert offered("billing_lead") == {
        "note",
        "export_data",
        "erase",
        "hold",
        "grant_extra_quota",
        "correct_usage",
        "create_key",
        "sync",
        "suspend",
        "rotate",
        "revoke",
        "apply_coupon",
        "cancel",
        "change_plan",
        "credit",
        "pause_collection",
        "refund",
        "remove_coupon",
        "link",
        "unlink",
    }


def test_unknown_customer_is_not_found(signed_in: Callable[[str], Client]) -> None:
    url = reverse("admin:billing_user_change", args=["00000000-0000-0000-0000-000000000000"])
    assert signed_in("support").get(url).status_code == 404
    assert signed_in("support").get(reverse("admin:billing_user_change", args=["nonsense"])).status_code == 404


def test_search_opens_the_only_hit_and_lists_several(signed_in: Callable[[str], Client], ada: User) -> None:
    support = signed_in("support")
    find = reverse("admin:billing_user_find")
    assert support.get(find, {"q": "cus_ada"})["Location"] == page_of(ada)
    factories.customer(email="ada2@example.com")
    page = support.get(find, {"q": "ada"})
    assert len(page.context["hits"]) == 2
    assert "Nothing found" in support.get(find, {"q": "nobody"}).content.decode()


def test_palette_finds_customers_and_minds_the_case_of_ids(signed_in: Callable[[str], Client]) -> None:
    user = factories.customer(stripe_customer_id="cus_AbC")
    page = signed_in("support").get(reverse("admin:search"), {"s": "cus_AbC", "extended": "1"}).content.decode()
    assert page_of(user) in page
