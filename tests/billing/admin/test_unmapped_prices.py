"""The prices that no plan claims and those that customers have, on the page that maps them."""

from collections.abc import Callable

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from billing.models import PlanPrice
from billing.services import prices
from tests.support import factories
from tests.support.factories import stripe_price as price

pytestmark = pytest.mark.django_db

PAGE = reverse("admin:billing_planprice_changelist")
QUERIES = 22


def waiting_for(name: str) -> None:
    factories.webhook_event(last_error=f"No tier for {name}: map it in the admin.", waits_for=[name])


def test_unmapped_price_is_shown_with_what_waits_for_it(signed_in: Callable[[str], Client]) -> None:
    price("price_waited_for")
    price("price_by_quarter", recurring={"interval": "month", "interval_count": 3}, unit_amount=None)
    for _ in range(2):
        waiting_for("price_waited_for")
    response = signed_in("billing_lead").get(PAGE)
    rows = [
        (row["price"].stripe_price_id, row["amount"], row["price"].events_waiting)
        for row in response.context["unclaimed"]
    ]
    assert rows == [("price_waited_for", "249.00 USD a year", 2), ("price_by_quarter", "tiered every 3 months", 0)]
    assert "Pro plan" in response.content.decode()


def test_price_that_something_names_is_no_gap(signed_in: Callable[[str], Client]) -> None:
    price("price_metadata", metadata={"tier": "starter"})
    price("price_key", lookup_key="professional_yearly")
    price("price_inactive", active=False)
    PlanPrice.objects.create(stripe_price_id=price("price_mapped"), tier="starter")
    assert prices.listed().unclaimed == []
    assert "no plan claims" not in signed_in("billing_lead").get(PAGE).content.decode()


def test_one_click_fills_in_the_form_for_those_who_may_map(signed_in: Callable[[str], Client]) -> None:
    price("price_new")
    link = reverse("admin:billing_planprice_map_price_all") + "?stripe_price_id=price_new"
    lead = signed_in("billing_lead")
    assert f'href="{link}"' in lead.get(PAGE).content.decode()
    assert 'value="price_new"' in lead.get(link).content.decode()
    support = signed_in("support").get(PAGE).content.decode()
    assert "price_new" in support
    assert link not in support


def test_page_costs_the_same_however_many_there_are(signed_in: Callable[[str], Client]) -> None:
    lead = signed_in("billing_lead")
    for number in range(prices.AT_MOST + 10):
        waiting_for(price(f"price_{number}_"))
    with CaptureQueriesContext(connection) as queries:
        response = lead.get(PAGE)
    assert len(queries) <= QUERIES, [query["sql"][:150] for query in queries]
    assert len(response.context["unclaimed"]) == prices.AT_MOST
    assert all(row["price"].events_waiting == 1 for row in response.context["unclaimed"])


def test_every_price_that_customers_have_is_listed(signed_in: Callable[[str], Client]) -> None:
    price("price_archived", active=False)
    for price_id in ("price_archived", "price_archived", "price_nobody_mirrored"):
        factories.subscription(stripe_price_id=price_id, tier="professional")
    factories.subscription(stripe_price_id="price_over", status="canceled", canceled_at=timezone.now())
    response = signed_in("billing_lead").get(PAGE)
    rows = [
        (row["price"].stripe_price_id, row["price"].subscribers, row["price"].kept)
        for row in response.context["subscribed"]
    ]
    assert rows == [("price_archived", 2, ("professional",)), ("price_nobody_mirrored", 1, ("professional",))]
    shown = response.content.decode()
    assert "archived" in shown
    assert "not mirrored" in shown
    assert f'href="{reverse("admin:billing_planprice_map_price_all")}?stripe_price_id=price_nobody_mirrored"' in shown
