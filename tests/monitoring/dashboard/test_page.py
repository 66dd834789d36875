"""The admin's start page."""

from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import Permission
from django.test import Client
from django.utils import timezone

from billing.models import Subscription, User
from glyphforge.admin.columns import EMPTY
from monitoring.dashboard import figures
from monitoring.dashboard.page import spark
from monitoring.models import Alert, DailyFigures, JobRun, JobSchedule
from tests.support import factories
from tests.support.sql import SQL, run

pytestmark = [pytest.mark.django_db, pytest.mark.one_day]
QUERIES = 19  # two of them a savepoint, two its limits


@pytest.fixture
def history() -> None:
    """Sixty days of customers who came, upgraded and left."""
    now = timezone.now()
    ada, bob = factories.customer(), factories.customer()
    User.objects.update(created_at=now - timedelta(days=60))
    Subscription.objects.update(status="canceled", canceled_at=now - timedelta(days=50))
    factories.subscription(ada, created_at=now - timedelta(days=50))
    factories.subscription(
        bob,
        tier="professional",
        price_cents=9900,
        status="canceled",
        created_at=now - timedelta(days=40),
        canceled_at=now - timedelta(days=5),
    )
    factories.webhook_event(stripe_event_id="evt_dead", status="dead", attempts=8)
    JobSchedule.objects.all().delete()
    factories.job_schedule(job="sync")
    JobRun.objects.create(job="sync", status="failed", error="lock timeout", finished_at=now)
    factories.alert(subject="evt_dead", message="Webhook event evt_dead is dead")
    factories.requests(ada, 4, status_code=SQL("200 + 300 * (n % 2)"))
    run("SELECT rebuild_mrr_history(true)")


def values(response: Any) -> dict[str, str]:
    return {card.title: card.value for card in response.context["cards"]}


def test_superuser_sees_every_card_and_chart(admin_client: Client, history: None) -> None:
    response = admin_client.get("/admin/")
    assert values(response) == {
        "MRR": "$29",
        "Paying customers": "1",
        "Customer churn, 30 days": "50.0 %",
        "Payments this month": "$0",
        "MRR at risk": "$0",
        "Requests today": "4",
        "Stripe webhooks": "1 dead",
        "Open alerts": "1 critical",
        "Jobs": "1 failed",
    }
    assert [chart.title for chart in response.context["charts"]] == [
        "MRR by plan",
        "Net new MRR",
        "API usage and errors",
        "Customer growth",
    ]
    assert "Monthly recurring revenue by plan over 30 days. Today: Starter $29, Professional $0." in response.text
    assert "churn -$99" in response.text
    assert "Webhook event evt_dead is dead" in response.text


def test_the_worst_alert_is_shown_among_any_number_of_later_ones(admin_client: Client, history: None) -> None:
    later = timezone.now() + timedelta(seconds=1)
    Alert.objects.bulk_create(
        Alert(fingerprint=f"w{n}", alert_type="t", subject="x", severity="warning", state="firing", fired_at=later)
        for n in range(501)
    )
    response = admin_client.get("/admin/")
    assert values(response)["Open alerts"] == "1 critical"
    assert "Webhook event evt_dead is dead" in response.text
    assert "496 more" in response.text


def test_page_has_a_limit_of_queries(admin_client: Client, history: None, django_assert_max_num_queries: Any) -> None:
    with django_assert_max_num_queries(QUERIES):
        assert admin_client.get("/admin/?days=90").context["days"] == 90
    with django_assert_max_num_queries(QUERIES - 5):
        admin_client.get("/admin/")


@pytest.mark.parametrize("days", ["31", "-1", "x", ""])
def test_unknown_range_is_thirty_days(admin_client: Client, days: str) -> None:
    assert admin_client.get(f"/admin/?days={days}").context["days"] == 30


def test_empty_database_has_a_dashboard(admin_client: Client) -> None:
    response = admin_client.get("/admin/")
    assert values(response)["Customer churn, 30 days"] == EMPTY
    assert values(response)["Open alerts"] == "None"
    assert "Nothing needs attention." in response.text


@pytest.mark.usefixtures("history")
@pytest.mark.parametrize(
    ("permission", "cards", "charts"),
    [
        (None, [], []),
        (
            "view_dailymrr",
            ["MRR", "Paying customers", "Customer churn, 30 days", "Payments this month"],
            ["MRR by plan", "Net new MRR"],
        ),
        ("view_paymentatrisk", ["MRR at risk"], []),
        ("view_dailyfigures", ["Requests today"], ["API usage and errors", "Customer growth"]),
        ("view_webhookevent", ["Stripe webhooks"], []),
        ("view_alert", ["Open alerts"], []),
        ("view_jobrun", ["Jobs"], []),
    ],
)
def test_each_card_needs_its_permission(
    client: Client, django_user_model: Any, permission: str | None, cards: list[str], charts: list[str]
) -> None:
    staff = django_user_model.objects.create_user("sam", is_staff=True)
    if permission:
        staff.user_permissions.add(Permission.objects.get(codename=permission))
    client.force_login(staff)
    response = client.get("/admin/")
    assert list(values(response)) == cards
    assert [chart.title for chart in response.context["charts"]] == charts
    assert ("evt_dead" in response.text) == (permission == "view_alert")


def test_each_job_leads_to_its_page(admin_client: Client) -> None:
    page = admin_client.get("/admin/").text
    for job in JobSchedule.objects.values_list("job", flat=True):
        assert f'href="/admin/monitoring/jobschedule/{job}/change/"' in page


def test_spark_fits_its_box() -> None:
    assert spark([5]) == ""
    assert spark([0, 10, 5]) == "0.0,22.0 50.0,2.0 100.0,12.0"
    assert spark([7, 7]) == "0.0,22.0 100.0,22.0"


def test_churn_without_a_past_is_no_number() -> None:
    lost = figures.churn([DailyFigures(day=figures.today(), churned_customers=0, paying_customers=3)], [])
    assert (lost.customer_percent, lost.mrr_percent) == (None, None)


def test_what_is_at_risk_counts_a_subscription_once(admin_client: Client) -> None:
    late = factories.subscription(status="past_due")
    for _ in range(2):
        factories.open_invoice(late)
    factories.open_invoice(
        factories.subscription(status="past_due", currency="jpy", price_cents=3000),
        currency="jpy",
        amount_due_cents=500,
    )
    response = admin_client.get("/admin/")
    (card,) = [card for card in response.context["cards"] if card.title == "MRR at risk"]
    assert (card.value, card.tone) == ("$29 + 3,000 JPY", "warning")
    assert dict(card.details) == {
        "Overdue": "$58 + 500 JPY",
        "Customers": "2",
        "Without owner": "3",
        "With time": "0",
    }
