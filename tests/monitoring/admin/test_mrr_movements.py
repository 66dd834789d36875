"""The ledger's page."""

from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.utils import timezone

from monitoring.models import MrrMovement
from tests import factories

pytestmark = pytest.mark.django_db
LEDGER = "/admin/monitoring/mrrmovement/"


@pytest.fixture
def booked() -> MrrMovement:
    factories.subscription(user=factories.customer(email="ada@example.com"))
    return MrrMovement.objects.get()


def test_movement_leads_to_its_cause(
    admin_client: Client, booked: MrrMovement, django_assert_max_num_queries: Any
) -> None:
    with django_assert_max_num_queries(12):
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
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO mrr_movements (user_id, subscription_id, kind, currency, amount_cents, before_cents,"
            " after_cents, tier_before) VALUES (gen_random_uuid(), gen_random_uuid(), 'churn', 'usd', -2900, 2900, 0,"
            " 'starter') RETURNING user_id::text"
        )
        gone = cursor.fetchone()[0]
    assert gone in admin_client.get(LEDGER).text


@pytest.mark.parametrize(("role", "status"), [("support", 403), ("operator", 403), ("billing_lead", 200)])
def test_revenue_is_for_those_who_answer_for_it(role: str, status: int) -> None:
    browser = Client()
    browser.force_login(factories.staff(role))
    assert browser.get(LEDGER).status_code == status
    titles = [card.title for card in browser.get("/admin/").context["cards"]]
    assert ("MRR" in titles) == (status == 200)
    assert {"Requests today", "Open alerts", "Jobs"} <= set(titles)
