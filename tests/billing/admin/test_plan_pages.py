"""Changing a plan on its page: the preview, what it carries to its confirmation, and the acts beside it."""

import re
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth import get_user
from django.contrib.messages import get_messages
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from billing.models import ExtraQuota, OpenInvoice, Payment, StripeRequest, Subscription
from billing.models.extra_quota import end_of_month
from billing.services import plan_changes
from billing.stripe.projection import kept_months
from demo.stripe.server import StripeServer
from glyphforge.audit.models import AuditEntry
from glyphforge.rows import Json
from tests.support import factories
from tests.support.admin_pages import CONFIRMED, page_of, row_page
from tests.support.event_stream import EventStream, deliver_new, price
from tests.support.sql import query
from tests.support.stripe_acts import coupon, discount, renewed, scheduled, unpaid

pytestmark = pytest.mark.django_db
QUERIES = 16


@pytest.fixture
def lead(signed_in: Callable[[str], Client]) -> Client:
    return signed_in("billing_lead")


@pytest.fixture
def form(stream: EventStream) -> Json:
    """The terms of Professional, now, of prices that are known here."""
    renewed(stream)
    for item in list(stream.world.objects.values()):
        if item.get("lookup_key") in ("starter_monthly", "professional_monthly"):
            stream.announce("price.updated", item)
    return {"price": price(stream.world, "professional_monthly")["id"], "quantity": "1", "when": "now", "coupon": ""}


def lead_name(client: Client) -> str:
    return str(get_user(client).get_username())  # type: ignore[arg-type]


def hidden(page: str) -> dict[str, str]:
    return dict(re.findall(r'type="hidden" name="(\w+)" value="([^"]*)"', page))


def statements(queries: CaptureQueriesContext) -> list[str]:
    """What was asked, without the savepoints that stand for transactions inside of a test's."""
    return [query["sql"][:120] for query in queries if "SAVEPOINT" not in query["sql"]]


def previewed(client: Client, url: str, form: Json) -> tuple[str, Json]:
    """The page with the preview, and what its form carries besides the terms."""
    page = client.post(url, form | {"previewed": "yes", "reason": ""}).content.decode()
    return page, {name: value for name, value in hidden(page).items() if name in ("token", "shown")}


def told(client: Client, url: str, data: dict[str, Any]) -> str:
    response = client.post(url, data)
    assert response.status_code == 302, re.findall(r'role="alert">([^<]*)', response.content.decode())
    return str(list(get_messages(response.wsgi_request))[-1])


def alerts(client: Client, url: str, data: dict[str, Any]) -> list[str]:
    response = client.post(url, data)
    assert response.status_code == 200
    return re.findall(r'role="alert">([^<]*)', response.content.decode())


class TestChangePlan:
    def test_form_knows_what_the_subscription_has(self, lead: Client, stream: EventStream, form: Json) -> None:
        with CaptureQueriesContext(connection) as queries:
            page = lead.get(row_page(stream.row, "change_plan")).content.decode()
        assert len(statements(queries)) <= QUERIES, "\n".join(statements(queries))
        assert re.search(rf'<option value="{stream.item["price"]["id"]}" selected>\s*29.00 USD a month', page)
        assert "99.00 USD a month (professional_monthly)" in page
        assert 'name="previewed"' in page
        assert 'name="confirmed"' not in page

    def test_preview_says_what_is_paid_and_what_changes(self, lead: Client, stream: EventStream, form: Json) -> None:
        url = row_page(stream.row, "change_plan")
        with CaptureQueriesContext(connection) as queries:
            page, carried = previewed(lead, url, form)
        assert len(statements(queries)) <= QUERIES, "\n".join(statements(queries))
        assert re.search(r"Unused time on Glyph Forge Starter.*?-\d+\.\d\d USD", page, re.DOTALL)
        assert re.search(r"Remaining time on Glyph Forge Professional", page)
        assert re.search(r"To pay now: \d\d\.\d\d USD", page)
        assert re.search(r"Next invoice, on \d{4}-\d\d-\d\d: 99.00 USD", page)
        assert "<td>29.00 USD</td><td>99.00 USD</td>" in page
        assert "<td>10,000</td><td>100,000</td>" in page
        assert set(carried) == {"token", "shown"}
        assert StripeRequest.objects.count() == 0

    def test_confirmation_charges_what_was_shown_once(self, lead: Client, stream: EventStream, form: Json) -> None:
        url = row_page(stream.row, "change_plan")
        page, carried = previewed(lead, url, form)
        confirmed = CONFIRMED | form | carried
        assert "Stripe changes the plan of sub_" in told(lead, url, confirmed)
        assert "This form was sent before" in told(lead, url, confirmed)
        invoice = stream.world.objects[stream.subscription["latest_invoice"]]
        assert f"To pay now: {invoice['amount_due'] / 100:.2f} USD" in page
        assert AuditEntry.objects.filter(action="change_plan", reason="Ticket 4711").count() == 1
        deliver_new(stream.world)
        assert (stream.row.tier, stream.row.price_cents) == ("professional", 9900)
        assert Payment.objects.get(stripe_invoice_id=invoice["id"]).amount_cents == invoice["amount_due"]
        assert "it is done, once" in told(lead, url, confirmed)

    @pytest.mark.parametrize(
        "altered", [{"quantity": "2"}, {"when": "period_end"}, {"shown": ""}, {"shown": "forged"}, {"coupon": "HALF"}]
    )
    def test_other_terms_than_were_shown_are_shown_anew(
        self, lead: Client, stream: EventStream, form: Json, altered: Json
    ) -> None:
        stream.world.put(coupon("HALF", percent_off=50))
        url = row_page(stream.row, "change_plan")
        _, carried = previewed(lead, url, form)
        confirmed = CONFIRMED | form | carried | altered
        assert "This is what it comes to now: look at it, and confirm." in alerts(lead, url, confirmed)
        assert StripeRequest.objects.count() == 0
        again = hidden(lead.post(url, confirmed).content.decode())
        assert told(lead, url, confirmed | {name: again[name] for name in ("token", "shown")}).startswith(
            "Stripe changes"
        )

    def test_preview_of_half_an_hour_ago_is_shown_anew(
        self, lead: Client, stream: EventStream, form: Json, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        url = row_page(stream.row, "change_plan")
        _, carried = previewed(lead, url, form)
        monkeypatch.setattr(plan_changes, "SHOWN_FOR", -1)
        assert "This is what it comes to now: look at it, and confirm." in alerts(lead, url, CONFIRMED | form | carried)
        assert StripeRequest.objects.count() == 0

    def test_form_without_a_preview_is_shown_one(self, lead: Client, stream: EventStream, form: Json) -> None:
        alerted = alerts(lead, row_page(stream.row, "change_plan"), CONFIRMED | form)
        assert alerted == ["This is what it comes to now: look at it, and confirm."]
        assert StripeRequest.objects.count() == 0

    def test_exceeded_limit_has_to_be_overridden_with_a_reason(
        self, lead: Client, stream: EventStream, form: Json
    ) -> None:
        query("UPDATE plans SET monthly_request_limit = 2 WHERE tier = 'professional'")
        factories.requests(stream.user, 3)
        url = row_page(stream.row, "change_plan")
        page, carried = previewed(lead, url, form)
        assert "The customer uses 3 of the new 2. Further requests are refused" in page
        confirmed = CONFIRMED | form | carried
        falls = "The limit falls from 10,000 to 2: say what becomes of the month."
        assert falls in alerts(lead, url, confirmed)
        confirmed |= {"rest_of_month": "lower"}
        assert "The customer uses 3 of the new 2: say why that is all right." in alerts(lead, url, confirmed)
        assert told(lead, url, confirmed | {"over_limit": "Agreed"}).startswith("Stripe changes the plan")
        assert AuditEntry.objects.get(action="change_plan").new_values["over_limit"] == "Agreed"
        deliver_new(stream.world)
        assert (stream.row.monthly_request_limit, ExtraQuota.objects.count()) == (2, 0)

    @pytest.mark.one_day
    def test_rest_of_the_old_limit_is_granted_until_the_month_ends(
        self, lead: Client, stream: EventStream, form: Json
    ) -> None:
        query("UPDATE plans SET monthly_request_limit = 2 WHERE tier = 'professional'")
        factories.requests(stream.user, 3)
        url = row_page(stream.row, "change_plan")
        page, carried = previewed(lead, url, form)
        assert "The limit falls from 10,000 to 2." in page
        told(lead, url, CONFIRMED | form | carried | {"rest_of_month": "keep"})
        assert ExtraQuota.objects.count() == 0  # Stripe has not said so yet
        deliver_new(stream.world)
        granted = ExtraQuota.objects.get()
        assert (granted.extra_requests, granted.reason, granted.granted_by) == (9_998, "Ticket 4711", lead_name(lead))
        assert granted.ends_at == end_of_month(granted.starts_at)
        row = Subscription.objects.select_related("entitlement").get(pk=stream.row.pk)
        assert (row.monthly_request_limit, row.limit) == (2, 10_000)
        entry = AuditEntry.objects.get(table_name="entitlement_grants")
        assert (entry.actor, entry.reason) == (lead_name(lead), "Ticket 4711")
        stream.update()
        assert ExtraQuota.objects.count() == 1

    @pytest.mark.one_day
    @pytest.mark.parametrize(
        ("asked", "granted"),
        [({"days": -40}, 0), ({"state": "refused"}, 0), ({"tier": "enterprise"}, 0), ({}, 1)],
    )
    def test_rest_is_granted_for_the_month_of_the_change_alone(
        self, stream: EventStream, asked: Json, granted: int
    ) -> None:
        row = stream.row
        factories.stripe_request(
            row.user,
            kind="change_plan",
            row_id=row.pk,
            state=asked.get("state", "done"),
            settled_at=timezone.now(),
            parameters={"keeps_month": True, "tier": asked.get("tier", "starter")},
            asked_at=timezone.now() + timedelta(days=asked.get("days", 0)),
        )
        for _ in range(2):
            kept_months.keep(stream.row, 90_000)
        assert ExtraQuota.objects.filter(extra_requests=80_000).count() == granted

    def test_reason_is_needed_and_the_preview_stays(self, lead: Client, stream: EventStream, form: Json) -> None:
        url = row_page(stream.row, "change_plan")
        _, carried = previewed(lead, url, form)
        response = lead.post(url, CONFIRMED | form | carried | {"reason": ""})
        assert "This field is required." in response.content.decode()
        assert "To pay now" in response.content.decode()

    def test_stripe_that_does_not_answer_is_told_on_the_form(
        self, lead: Client, stream: EventStream, form: Json, stripe_server: StripeServer
    ) -> None:
        stripe_server.loses = lambda method, path: "request"
        page, _ = previewed(lead, row_page(stream.row, "change_plan"), form)
        assert "Nothing was changed; try again in a minute." in page
        assert 'name="confirmed"' not in page

    def test_subscription_with_a_schedule_says_what_to_do(self, lead: Client, stream: EventStream, form: Json) -> None:
        scheduled(stream)
        assert "take back its planned changes first" in lead.get(row_page(stream.row, "change_plan")).content.decode()
        message = told(lead, row_page(stream.row, "release_schedule"), CONFIRMED)
        assert message.startswith("Nothing is planned for sub_")
        deliver_new(stream.world)
        assert stream.row.stripe_schedule_id is None


class TestBeside:
    def test_trial_is_extended(self, lead: Client, stream: EventStream) -> None:
        ends = int((timezone.now() + timedelta(days=3)).timestamp())
        stream.update(status="trialing", trial_end=ends)
        url = row_page(stream.row, "extend_trial")
        until = timezone.now() + timedelta(days=9)
        sent = {"until_0": f"{until:%Y-%m-%d}", "until_1": "12:00:00"}
        assert f"ends on {until:%Y-%m-%d} 12:00 UTC" in told(lead, url, CONFIRMED | sent)
        deliver_new(stream.world)
        assert f"{stream.row.trial_end:%Y-%m-%d %H:%M}" == f"{until:%Y-%m-%d} 12:00"
        assert any("already" in alert for alert in alerts(lead, url, CONFIRMED | sent))

    def test_coupon_is_applied_beside_others_and_removed(self, lead: Client, stream: EventStream) -> None:
        renewed(stream)
        for made in (coupon("HALF", percent_off=50), coupon("TEN", percent_off=10)):
            stream.world.put(made)
        stream.update(discounts=[discount("TEN", percent_off=10)])
        told(lead, row_page(stream.row, "apply_coupon"), CONFIRMED | {"coupon": " HALF "})
        deliver_new(stream.world)
        assert stream.row.price_cents == 1305
        url = row_page(stream.row, "remove_coupon")
        assert re.search(r'<option value="di_Half">\s*TEN', lead.get(url).content.decode())
        told(lead, url, CONFIRMED | {"discount": "di_Half"})
        deliver_new(stream.world)
        assert stream.row.price_cents == 1450

    def test_unknown_coupon_is_refused_in_stripes_words(self, lead: Client, stream: EventStream) -> None:
        assert "No such coupon: 'NONE'" in told(
            lead, row_page(stream.row, "apply_coupon"), CONFIRMED | {"coupon": "NONE"}
        )

    def test_credit_is_in_the_currency_of_the_invoices(self, lead: Client, stream: EventStream) -> None:
        url = row_page(stream.user, "credit")
        assert "Amount in USD" in lead.get(url).content.decode()
        assert "12.50 USD more to their credit (cbtxn_" in told(lead, url, CONFIRMED | {"amount": "12.50"})
        assert stream.customer["balance"] == -1250
        assert any("USD has 2 decimals" in alert for alert in alerts(lead, url, CONFIRMED | {"amount": "1.005"}))
        assert "credit" in lead.get(row_page(stream.user)).content.decode()

    def test_who_was_never_invoiced_is_not_credited(self, lead: Client) -> None:
        user = factories.customer(stripe_customer_id="cus_new")
        told_so = told(lead, row_page(user, "credit"), CONFIRMED | {"amount": "1"})
        assert told_so == "The customer is invoiced in no currency yet, not in USD."

    @pytest.mark.parametrize(
        ("operation", "became", "left"),
        [("void_invoice", "void", 0), ("mark_paid", "paid", 0), ("mark_uncollectible", "uncollectible", 1)],
    )
    def test_unpaid_invoice_is_settled(
        self, lead: Client, stream: EventStream, operation: str, became: str, left: int
    ) -> None:
        unpaid(stream)
        row = OpenInvoice.objects.get()
        page = lead.get(row_page(stream.user)).content.decode()
        assert row_page(row, operation) in page
        assert f"is {became} at Stripe." in told(lead, row_page(row, operation), CONFIRMED)
        deliver_new(stream.world)
        assert (stream.invoice["status"], OpenInvoice.objects.count()) == (became, left)
        entry = AuditEntry.objects.get(action=operation)
        assert (entry.table_name, entry.row_id) == ("subscriptions", str(stream.row.pk))
        assert entry.new_values["number"] == stream.invoice["number"]

    def test_draft_cannot_be_settled(self, lead: Client, stream: EventStream) -> None:
        unpaid(stream)
        query("UPDATE open_invoices SET status = 'draft'")
        page = lead.get(row_page(OpenInvoice.objects.get(), "void_invoice")).content.decode()
        assert "An invoice that is draft cannot be settled so." in page

    def test_list_of_unpaid_invoices_opens_within_its_queries(self, lead: Client, stream: EventStream) -> None:
        unpaid(stream)
        with CaptureQueriesContext(connection) as queries:
            page = lead.get(page_of(OpenInvoice)).content.decode()
        assert len(statements(queries)) <= QUERIES
        assert str(stream.invoice["number"]) in page
        assert lead.get(row_page(OpenInvoice.objects.get())).status_code == 200
