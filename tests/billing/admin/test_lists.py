"""The lists and pages of billing: they open, they find, they stay within their queries."""

from collections.abc import Callable
from typing import Any

import pytest
from django.contrib import admin
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from billing.models import ApiKey, ApiUsage, Payment, Plan, StripeCustomer, Subscription, User, WebhookEvent
from demo.stripe.world import StripeWorld
from glyphforge.audit.models import AuditEntry
from glyphforge.web.models import AuthenticationFailure
from tests.support import factories
from tests.support.admin_pages import page_of, row_page
from tests.support.event_stream import EventStream

pytestmark = pytest.mark.django_db

MODELS = [User, Subscription, ApiKey, Payment, WebhookEvent, AuditEntry, ApiUsage, Plan, AuthenticationFailure]
QUERIES_PER_LIST = 13


@pytest.fixture
def support(signed_in: Callable[[str], Client]) -> Client:
    return signed_in("support")


@pytest.fixture
def rows() -> dict[Any, Any]:
    user = factories.customer(email="ada@example.com", name="Ada", stripe_customer_id="cus_ada")
    subscription = factories.subscription(user)
    key = factories.issued_key(user).key
    payment = factories.payment(user)
    event = factories.webhook_event(payload={"data": {"object": {"customer": "cus_ada"}}})
    factories.requests(user, api_key_id=key.pk)
    return {
        AuthenticationFailure: AuthenticationFailure.objects.create(
            kind="api_key", source="203.0.113.9", window_start=timezone.now(), last_subject=key.key_prefix
        ),
        User: user,
        Subscription: subscription,
        ApiKey: key,
        Payment: payment,
        WebhookEvent: event,
        AuditEntry: AuditEntry.objects.order_by("-id").first(),
        Plan: Plan.objects.get(tier="starter"),
    }


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.__name__)
def test_list_opens_within_its_queries(model: Any, support: Client, rows: dict[Any, Any]) -> None:
    with CaptureQueriesContext(
        connection,
    ) as queries:
        response = support.get(page_of(model))
    assert response.status_code == 200
    assert len(queries) <= QUERIES_PER_LIST, [query["sql"] for query in queries]


@pytest.mark.parametrize("model", [m for m in MODELS if m is not ApiUsage], ids=lambda model: model.__name__)
def test_page_of_a_row_opens_and_offers_no_field_to_edit(model: Any, support: Client, rows: dict[Any, Any]) -> None:
    response = support.get(row_page(rows[model]))
    assert response.status_code == 200
    assert 'name="_save"' not in response.content.decode()


@pytest.mark.parametrize(
    ("model", "terms"),
    [
        (User, ["ada@ex", "ADA@", "Ada", "cus_ada"]),
        (Subscription, ["ada@", "own"]),
        (Payment, ["ada@", "own"]),
        (ApiKey, ["ada@", "own"]),
        (WebhookEvent, ["own", "invoice.", "cus_ada"]),
        (AuditEntry, ["own"]),
    ],
    ids=lambda value: getattr(value, "__name__", "terms"),
)
def test_list_finds_by_what_support_has_at_hand(
    model: Any, terms: list[str], support: Client, rows: dict[Any, Any]
) -> None:
    other = factories.customer(email="grace@example.com")
    factories.subscription(other)
    own = {
        Subscription: rows[Subscription].stripe_subscription_id,
        Payment: rows[Payment].stripe_invoice_id,
        ApiKey: rows[ApiKey].key_prefix,
        WebhookEvent: rows[WebhookEvent].stripe_event_id,
        AuditEntry: rows[AuditEntry].row_id,
    }
    for term in terms:
        response = support.get(page_of(model), {"q": own[model] if term == "own" else term})
        found = list(response.context["cl"].result_list)
        assert rows[model] in found, term
        assert all(getattr(row, "user_id", None) != other.pk and row != other for row in found), term


def test_list_of_keys_finds_a_key_that_was_pasted_whole(support: Client) -> None:
    issued = factories.issued_key()
    response = support.get(page_of(ApiKey), {"q": issued.raw_key})
    assert list(response.context["cl"].result_list) == [issued.key]


@pytest.mark.parametrize("model", [User, Subscription, ApiKey, Payment, WebhookEvent, AuditEntry])
def test_search_that_finds_nothing_is_an_empty_list(model: Any, support: Client, rows: dict[Any, Any]) -> None:
    response = support.get(page_of(model), {"q": "nobody at all"})
    assert response.status_code == 200
    assert list(response.context["cl"].result_list) == []


def test_filters_offered_do_filter(support: Client, rows: dict[Any, Any]) -> None:
    for model, query in [
        (User, {"status__exact": "suspended"}),
        (Subscription, {"status__exact": "past_due"}),
        (Payment, {"status__exact": "failed"}),
        (ApiKey, {"revoked": "yes"}),
        (WebhookEvent, {"status__exact": "dead"}),
        (AuditEntry, {"table_name": "plan_prices"}),
    ]:
        response = support.get(page_of(model), query)
        assert response.status_code == 200, response.headers
        assert list(response.context["cl"].result_list) == [], model


def test_status_is_text_and_colour(support: Client, rows: dict[Any, Any]) -> None:
    factories.subscription(status="past_due")
    page = support.get(page_of(Subscription)).content.decode()
    assert 'gf-badge--warning">Past due' in page


def test_tab_is_named_as_the_sidebar_names_the_list(support: Client, rows: dict[Any, Any]) -> None:
    for url, title in (
        (page_of(User), "Customers"),
        (page_of(WebhookEvent), "Webhook events"),
        (reverse("admin:monitoring_currentalert_changelist"), "Current alerts"),
    ):
        assert f"<title> {title} | " in " ".join(support.get(url).text.split())


def test_amounts_and_numbers_are_set_as_figures_and_what_is_not_there_is_not(
    support: Client, rows: dict[Any, Any]
) -> None:
    assert '<span class="gf-figure">29.00 USD</span>' in support.get(page_of(Subscription)).text
    plans = support.get(page_of(Plan)).text
    assert '<span class="gf-figure">100,000</span>' in plans
    assert '<span class="gf-figure">unlimited' not in plans


def test_audit_entry_leads_to_the_row_that_was_changed(support: Client, rows: dict[Any, Any]) -> None:
    page = support.get(page_of(AuditEntry)).text
    for row in (rows[User], rows[Subscription], rows[ApiKey]):
        assert f'href="{row_page(row)}">{row.pk}</a>' in page


def test_stripe_links_follow_the_mode(support: Client, rows: dict[Any, Any], settings: Any) -> None:
    url = row_page(rows[Payment])
    assert "https://dashboard.stripe.com/test/payments/ch_" in support.get(url).content.decode()
    settings.STRIPE_LIVE_MODE = True
    assert "https://dashboard.stripe.com/payments/ch_" in support.get(url).content.decode()


def test_events_of_a_customer_are_found_by_either_place_of_its_id(support: Client, rows: dict[Any, Any]) -> None:
    about = factories.webhook_event(stripe_event_id="evt_cut_1", payload={"data": {"object": {"id": "cus_ada"}}})
    other = factories.webhook_event(
        stripe_event_id="evt_cut_2", payload={"data": {"object": {"customer": "cus_other"}}}
    )
    for term, expected in (
        ("cus_ada", {rows[WebhookEvent], about}),
        ("cus_ada cus_other", {rows[WebhookEvent], about, other}),
        ("https://dashboard.stripe.com/test/customers/cus_ada", {rows[WebhookEvent], about}),
        ("evt_cut_", {about, other}),
    ):
        found = support.get(page_of(WebhookEvent), {"q": term}).context["cl"].result_list
        assert set(found) == expected, term


def test_invoice_is_found_by_its_number(support: Client, world: StripeWorld) -> None:
    stream = EventStream(world)
    stream.invoice["number"] = "A1B2C3D4-0007"
    stream.signed_up()
    stream.announce("invoice.paid", stream.invoice)
    for term in ("A1B2C3D4-0007", "a1b2c3d4-0007", "A1B2C3D4", stream.invoice["id"], stream.invoice["id"][:10]):
        page = support.get(reverse("admin:djstripe_invoice_changelist"), {"q": term})
        assert [invoice.id for invoice in page.context["cl"].result_list] == [stream.invoice["id"]], term
        assert "A1B2C3D4-0007" in page.content.decode()


def test_payments_are_found_by_any_customer_at_stripe_of_who_paid(support: Client, rows: dict[Any, Any]) -> None:
    StripeCustomer.objects.create(stripe_customer_id="cus_second", user=rows[User])
    factories.payment()
    for term in ("cus_second", "cus_seco", "cus_ada", rows[Payment].stripe_charge_id):
        found = support.get(page_of(Payment), {"q": term}).context["cl"].result_list
        assert list(found) == [rows[Payment]], term


def test_events_are_paged_by_key_and_back(support: Client) -> None:
    for _ in range(120):
        factories.webhook_event()
    seen, url = [], page_of(WebhookEvent)
    while url and len(seen) <= 120:
        changelist = support.get(url).context["cl"]
        seen += [row.stripe_event_id for row in changelist.result_list]
        url = changelist.after_url and page_of(WebhookEvent) + changelist.after_url
    everything = WebhookEvent.objects.order_by("-received_at", "-stripe_event_id")
    assert seen == list(everything.values_list("stripe_event_id", flat=True))
    previous = support.get(page_of(WebhookEvent) + changelist.before_url).context["cl"]
    assert [row.stripe_event_id for row in previous.result_list] == seen[75:100]


@pytest.mark.parametrize("cursor", ["garbage", "2026-01-01T00:00:00~", "2026-13-01T00:00:00+00:00~evt_1", "~~"])
def test_cursor_that_no_page_made_shows_the_first_page(cursor: str, support: Client) -> None:
    factories.webhook_event()
    response = support.get(page_of(WebhookEvent), {"after": cursor})
    assert response.status_code == 200
    assert len(response.context["cl"].result_list) == 1


def test_vendor_admins_are_gone_but_for_a_few_read_only_ones(support: Client) -> None:
    registered = {model._meta.model_name for model in admin.site._registry if model._meta.app_label == "djstripe"}
    assert registered == {"product", "price", "invoice"}
    for name in registered:
        assert support.get(reverse(f"admin:djstripe_{name}_changelist")).status_code == 200
        assert support.get(reverse(f"admin:djstripe_{name}_add")).status_code == 403


def test_a_payload_is_shown_without_the_secrets_in_it(support: Client) -> None:
    intent = {"id": "pi_ada", "client_secret": "pi_ada_secret_planted"}
    event = factories.webhook_event(payload={"data": {"object": intent}})
    page = support.get(row_page(event)).content.decode()
    assert "pi_ada&quot;" in page
    assert "planted" not in page
