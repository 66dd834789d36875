"""The pages of the views: they open, find, filter, sort, link, export and fix, each for those who may."""

import codecs
import csv
import io
import json
from collections.abc import Callable
from typing import Any

import pytest
from django.apps import apps
from django.contrib.admin.utils import quote
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from glyphforge.audit.models import AuditEntry
from monitoring.models import FailedWebhookEvent, OrphanedStripeCustomer
from tests.support import factories
from tests.support.sql import SQL, ago, one, query

pytestmark = pytest.mark.django_db

VIEWS = [model for model in apps.get_app_config("monitoring").get_models() if not model._meta.managed]
FIGURES = {
    "RevenueMetrics",
    "SubscriptionBreakdown",
    "UserGrowth",
    "Retention",
    "RetentionCustomer",
    "MrrRetention",
    "LifetimeValue",
    "Forecast",
    "Renewal",
}
BY_NAME = {model.__name__: model for model in VIEWS}
QUERIES_PER_LIST = 15


def url(model: Any, page: str = "changelist", *args: Any) -> str:
    return reverse(f"admin:monitoring_{model._meta.model_name}_{page}", args=[quote(arg) for arg in args])


@pytest.fixture
def lead(signed_in: Callable[[str], Client]) -> Client:
    return signed_in("billing_lead")


@pytest.fixture
def operator(signed_in: Callable[[str], Client]) -> Client:
    return signed_in("operator")


@pytest.fixture
def troubles() -> None:
    """A row in nearly every view."""
    query("DELETE FROM job_schedules")
    orphan = factories.customer(stripe_customer_id="cus_orphan", email="orphan@example.com").pk
    query("UPDATE subscriptions SET status = 'canceled' WHERE user_id = %s", orphan)
    stale = factories.subscription(current_period_end=ago("5 days")).user_id
    factories.webhook_event(status="failed", attempts=2, last_error="<b>boom</b>", event_type="invoice.paid")
    factories.webhook_event(status="dead", attempts=8, event_type="charge.failed")
    factories.requests(stale, 90, endpoint="/v1/a/b?c=d&e", api_key_id=factories.api_key(stale).pk, status_code=500)
    query("UPDATE subscriptions SET monthly_request_limit = 100 WHERE user_id = %s AND status = 'active'", stale)
    factories.subscription(tier="professional", price_cents=9900)
    factories.payment(stale)
    factories.requests(SQL("gen_random_uuid()"), 3)


@pytest.mark.parametrize("model", VIEWS, ids=lambda model: model.__name__)
def test_list_and_pages_of_its_rows_open(
    model: Any, troubles: None, signed_in: Callable[[str], Client], django_assert_max_num_queries: Any
) -> None:
    client = signed_in("auditor")
    with django_assert_max_num_queries(QUERIES_PER_LIST):
        assert client.get(url(model)).status_code == 200
    for row in model.objects.all()[:3]:
        page = client.get(url(model, "change", row.pk))
        if not model.objects.filter(pk=row.pk).exists():
            continue  # it was of another session of the server, which has ended
        assert page.status_code == 200
        assert 'name="_save"' not in page.content.decode()


@pytest.mark.parametrize("model", VIEWS, ids=lambda model: model.__name__)
def test_every_column_sorts_and_every_filter_and_search_works(
    model: Any, troubles: None, signed_in: Callable[[str], Client]
) -> None:
    from django.contrib import admin

    client, page = signed_in("auditor"), admin.site._registry[model]
    columns = ".".join(f"-{number}" for number in range(1, len(page.list_display) + 1))
    row = model.objects.first()
    filtered = [name if isinstance(name, str) else name[0] for name in page.list_filter]
    filters = {f"{name}__exact": str(getattr(row, name, "")) for name in filtered}
    search = {"q": "orphan@"} if page.search_fields else {}
    assert client.get(url(model), {"o": columns, **filters, **search}).status_code == 200


@pytest.mark.parametrize(
    "model", [model for model in VIEWS if model.__name__ != "ApiKeyUsage"], ids=lambda m: m.__name__
)
def test_rows_and_their_number_take_one_reading_of_the_view(
    model: Any, troubles: None, signed_in: Callable[[str], Client]
) -> None:
    client = signed_in("auditor")
    with CaptureQueriesContext(connection) as queries:
        assert client.get(url(model)).status_code == 200
    source = f'FROM "{model._meta.db_table}"'
    readings = [query["sql"] for query in queries if source in query["sql"]]
    assert len([sql for sql in readings if not sql.startswith("SELECT DISTINCT")]) == 1, readings


def test_view_with_more_rows_than_are_read_at_once_is_paged_all_the_same(
    troubles: None, lead: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("glyphforge.admin.pagination.EXACT_BELOW", 1)
    changelist = lead.get(url(FailedWebhookEvent)).context["cl"]
    assert {row.status for row in changelist.result_list} == {"dead", "failed"}


def test_alerts_can_be_filtered_by_every_check(troubles: None, operator: Client) -> None:
    page = operator.get(reverse("admin:monitoring_currentalert_changelist"))
    (by_check,) = [spec for spec in page.context["cl"].filter_specs if spec.title == "check"]
    offered = {choice["display"] for choice in by_check.choices(page.context["cl"])}
    assert offered == {"All"} | {row["check_name"] for row in query("SELECT check_name FROM health_checks")}


def test_only_some_roles_see_figures_and_statements(signed_in: Callable[[str], Client]) -> None:
    expected = {
        "support": FIGURES | {"LongRunningQuery"},
        "billing_lead": {"LongRunningQuery"},
        "operator": FIGURES,
        "auditor": set(),
    }
    for role, hidden in expected.items():
        client = signed_in(role)
        # The refusal comes before anything is read; a page that opens is another test's business.
        closed = {name for name in FIGURES | {"LongRunningQuery"} if client.get(url(BY_NAME[name])).status_code == 403}
        assert closed == hidden, role


def test_rows_link_to_the_customer_and_the_subscription(troubles: None, lead: Client) -> None:
    row = one("SELECT user_id, subscription_id FROM v_stale_subscriptions")
    page = lead.get(reverse("admin:monitoring_stalesubscription_changelist")).content.decode()
    assert reverse("admin:billing_user_change", args=[row["user_id"]]) in page
    assert reverse("admin:billing_subscription_change", args=[row["subscription_id"]]) in page


def test_what_stripe_or_a_client_wrote_is_escaped(troubles: None, lead: Client) -> None:
    page = lead.get(url(FailedWebhookEvent)).content.decode()
    assert "<b>boom</b>" not in page
    assert "&lt;b&gt;boom&lt;/b&gt;" in page


def test_alerts_link_to_what_they_are_about(troubles: None, operator: Client) -> None:
    page = operator.get(reverse("admin:monitoring_currentalert_changelist")).content.decode()
    subscription = one("SELECT subscription_id FROM v_stale_subscriptions")["subscription_id"]
    dead = one("SELECT stripe_event_id FROM v_failed_webhook_events WHERE status = 'dead'")["stripe_event_id"]
    assert reverse("admin:billing_subscription_change", args=[subscription]) in page
    assert reverse("admin:billing_webhookevent_changelist", query={"q": dead}) in page


# --- fixes ----------------------------------------------------------------------------------------


def confirm(client: Client, address: str, **values: Any) -> Any:
    return client.post(address, {"confirmed": "yes", "reason": "because", **values}, follow=True)


def test_orphans_are_fixed_from_their_page(troubles: None, signed_in: Callable[[str], Client]) -> None:
    support = signed_in("support")
    address = url(OrphanedStripeCustomer, "fix_orphans_all")
    assert address in support.get(url(OrphanedStripeCustomer)).content.decode()
    assert "1 customer" in support.get(address).content.decode()
    assert OrphanedStripeCustomer.objects.exists(), "a GET changes nothing"
    confirm(support, address)
    assert not OrphanedStripeCustomer.objects.exists()
    assert AuditEntry.objects.filter(action="fix_orphan", reason="because").count() == 1


def test_failed_event_is_retried_from_its_page_and_leaves_it(troubles: None, operator: Client) -> None:
    event = FailedWebhookEvent.objects.get(status="dead")
    address = url(FailedWebhookEvent, "retry_webhooks", event.pk)
    assert address in operator.get(url(FailedWebhookEvent, "change", event.pk)).content.decode()
    confirm(operator, address)
    assert not FailedWebhookEvent.objects.filter(pk=event.pk).exists()
    assert AuditEntry.objects.filter(action="replay", row_id=event.pk, reason="because").exists()


def test_auditor_is_offered_no_fix_and_may_not_post_one(troubles: None, signed_in: Callable[[str], Client]) -> None:
    auditor = signed_in("auditor")
    address = url(OrphanedStripeCustomer, "fix_orphans_all")
    assert address not in auditor.get(url(OrphanedStripeCustomer)).content.decode()
    assert auditor.post(address, {"confirmed": "yes", "reason": "because"}).status_code == 403


# --- export ---------------------------------------------------------------------------------------


def test_export_is_a_csv_of_the_views_columns_and_audited(troubles: None, lead: Client) -> None:
    answer = lead.post(url(FailedWebhookEvent, "export_all"), {"confirmed": "yes", "reason": "for the books"})
    assert answer["Content-Type"] == "text/csv; charset=utf-8"
    assert answer.content.startswith(codecs.BOM_UTF8)  # or Excel reads Müller as MÃ¼ller
    header, *lines = answer.content.decode("utf-8-sig").splitlines()
    assert header == "stripe_event_id,event_type,status,attempts,last_error,next_retry_at,received_at,cause,waits_for"
    assert len(lines) == 2
    entry = AuditEntry.objects.get(action="export")
    assert (entry.table_name, entry.reason, entry.new_values) == (
        "v_failed_webhook_events",
        "for the books",
        {"rows": 2},
    )


def test_export_of_a_selection_holds_the_selection(troubles: None, lead: Client) -> None:
    chosen = FailedWebhookEvent.objects.get(status="dead").pk
    answer = lead.post(
        url(FailedWebhookEvent),
        {"action": "export", "_selected_action": chosen, "confirmed": "yes", "reason": "for the books"},
    )
    assert len(answer.content.decode().splitlines()) == 2


def test_export_is_capped(troubles: None, lead: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("glyphforge.admin.export.MOST_ROWS", 1)
    answer = lead.post(url(FailedWebhookEvent, "export_all"), {"confirmed": "yes", "reason": "for the books"})
    assert len(answer.content.decode().splitlines()) == 2


@pytest.mark.parametrize(
    "text",
    ["=HYPERLINK(1)", " =1+1", "\n=1+1", "＝1+1", '"@SUM(1)', "\u00a0-2", "\t+1"],  # noqa: RUF001 - full width
)
def test_formulas_are_defused(text: str, troubles: None, lead: Client) -> None:
    query("UPDATE stripe_webhook_events SET last_error = %s", text)
    answer = lead.post(url(FailedWebhookEvent, "export_all"), {"confirmed": "yes", "reason": "for the books"})
    rows = list(csv.DictReader(io.StringIO(answer.content.decode("utf-8-sig"), newline="")))
    assert {row["last_error"] for row in rows} == {f"'{text}"}


def test_export_is_of_what_the_list_shows_and_says_so(troubles: None, lead: Client) -> None:
    dead = "?status__exact=dead"
    listed = lead.get(url(FailedWebhookEvent) + dead).content.decode()
    address = url(FailedWebhookEvent, "export_all") + dead
    assert f'href="{address}"' in listed
    confirm = lead.get(address)
    assert confirm.context["count"] == 1
    assert "Of the list as it is shown: status: dead." in confirm.content.decode()
    answer = lead.post(address, {"confirmed": "yes", "reason": "for the books"})
    assert len(answer.content.splitlines()) == 2
    entry = AuditEntry.objects.get(action="export")
    assert entry.new_values == {"rows": 1, "shown": "status: dead"}


def test_filter_that_the_list_does_not_take_exports_nothing(troubles: None, lead: Client) -> None:
    address = url(FailedWebhookEvent, "export_all")
    for odd in ("?attempts__gt=1", "?status__exact=%00&o=x"):
        answer = lead.post(address + odd, {"confirmed": "yes", "reason": "for the books"})
        assert answer.status_code in (302, 400), odd
    assert not AuditEntry.objects.filter(action="export").exists()


def test_programs_get_a_json_object_a_line(troubles: None, lead: Client) -> None:
    answer = lead.post(
        url(FailedWebhookEvent, "export_all"), {"confirmed": "yes", "reason": "for the books", "kind": "ndjson"}
    )
    assert (answer["Content-Type"], answer["Content-Disposition"][-8:]) == ("application/x-ndjson", '.ndjson"')
    assert {json.loads(line)["status"] for line in answer.content.splitlines()} == {"dead", "failed"}


def test_long_export_is_sent_from_a_file(troubles: None, lead: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("glyphforge.admin.export.IN_MEMORY", 10)
    answer = lead.post(url(FailedWebhookEvent, "export_all"), {"confirmed": "yes", "reason": "for the books"})
    assert answer.streaming
    assert len(answer.getvalue().splitlines()) == 3


@pytest.mark.parametrize("role", ["support"])
def test_export_needs_its_permission(role: str, troubles: None, signed_in: Callable[[str], Client]) -> None:
    client = signed_in(role)
    address = url(FailedWebhookEvent, "export_all")
    assert address not in client.get(url(FailedWebhookEvent)).content.decode()
    assert client.post(address, {"confirmed": "yes", "reason": "for the books"}).status_code == 403
    assert not AuditEntry.objects.filter(action="export").exists()
