"""The ledger's page."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from monitoring.models import MrrMovement
from tests.support import factories
from tests.support.sql import SQL, insert

pytestmark = pytest.mark.django_db
LEDGER = "/admin/monitoring/mrrmovement/"


@pytest.fixture
def booked() -> MrrMovement:
    factories.subscription(user=factories.customer(email="ada@example.com"))
    return MrrMovement.objects.get()


def test_movement_leads_to_its_cause(
    admin_client: Client, booked: MrrMovement, django_assert_max_num_queries: Any
) -> None:
    with django_assert_max_num_queries(13):
        page = admin_client.get(LEDGER).text
    assert f"/admin/billing/subscription/{booked.subscription_id}/change/" in page
    assert "ada@example.com" in page
    detail = admin_client.get(f"{LEDGER}{booked.pk}/change/").text
    assert f"Audit entry {booked.audit_id}" in detail


@pytest.mark.one_day
def test_day_of_the_chart_can_be_opened(admin_client: Client, booked: MrrMovement) -> None:
    today, tomorrow = (f"{timezone.now() + timedelta(days=days):%Y-%m-%d}" for days in (0, 1))
    for day, count in ((today, 1), (tomorrow, 0)):
        assert len(admin_client.get(f"{LEDGER}?occurred_at__date={day}").context["cl"].result_list) == count


def test_ledger_outlives_a_deleted_customer(admin_client: Client) -> None:
    movement = insert(
        "mrr_movements",
        user_id=SQL("gen_random_uuid()"),
        subscription_id=SQL("gen_random_uuid()"),
        kind="churn",
        currency="usd",
        amount_cents=-2900,
        before_cents=2900,
        after_cents=0,
        tier_before="starter",
    )
    assert str(movement["user_id"]) in admin_client.get(LEDGER).text


@pytest.mark.parametrize(("role", "status"), [("support", 403), ("operator", 403), ("billing_lead", 200)])
def test_revenue_is_for_those_who_answer_for_it(signed_in: Callable[[str], Client], role: str, status: int) -> None:
    browser = signed_in(role)
    assert browser.get(LEDGER).status_code == status
    titles = [card.title for card in browser.get("/admin/").context["cards"]]
    assert ("MRR" in titles) == (status == 200)
    assert {"Requests today", "Open alerts", "Jobs"} <= set(titles)
