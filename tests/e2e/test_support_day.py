"""A day of somebody in support, in a real browser."""

from collections.abc import Callable

import pytest
from playwright.sync_api import expect

from billing.models import Payment, StripeRequest, Subscription
from glyphforge.audit.models import AuditEntry
from tests.support import back_office
from tests.support.admin_pages import row_page
from tests.support.browser import Visit

pytestmark = [pytest.mark.browser, pytest.mark.slow]


def test_support_finds_a_subscription_and_retries_a_failed_event_until_it_is_processed(
    visit: Callable[..., Visit], site: back_office.Site
) -> None:
    support = visit("support")
    page = support.open("/admin/")

    page.fill("[role=search] input[name=q]", str(site.recorded.stripe_subscription_id))
    page.press("[role=search] input[name=q]", "Enter")
    page.wait_for_url("**/billing/user/*/change/")
    expect(page.get_by_text(str(site.recorded.user.email)).first).to_be_visible()
    expect(page.get_by_text(str(site.recorded.stripe_subscription_id)).first).to_be_visible()
    assert page.get_by_role("link", name="Cancel subscription").count() == 0  # money is not support's

    page.get_by_role("link", name="customer.subscription.created").click()
    expect(page.locator(".gf-badge", has_text="Failed").first).to_be_visible()
    page.get_by_role("link", name="Retry webhooks").click()
    expect(page.get_by_text("1 event is set back to pending")).to_be_visible()
    page.get_by_role("button", name="Retry webhooks").click()
    expect(page.get_by_role("alert")).to_have_text("This field is required.")
    page.fill("[name=reason]", "Stripe answers again")
    page.get_by_role("button", name="Retry webhooks").click()
    expect(page.get_by_text("1 event set back to pending")).to_be_visible()
    expect(page.locator(".gf-badge", has_text="Pending").first).to_be_visible()

    assert back_office.process_failed_event(site) == "processed"
    page.reload()
    expect(page.locator(".gf-badge", has_text="Processed").first).to_be_visible()
    entry = AuditEntry.objects.get(action="replay")
    assert (entry.actor, entry.reason) == ("support", "Stripe answers again")
    assert support.troubles == []


def test_orphan_is_fixed_from_the_list(visit: Callable[..., Visit], site: back_office.Site) -> None:
    support = visit("support")
    page = support.open("/admin/billing/user/")
    page.get_by_role("link", name="Fix orphans").click()
    expect(page.get_by_text("orphan@example.com")).to_be_visible()
    page.fill("[name=reason]", "Found in the morning round")
    page.get_by_role("button", name="Fix orphans").click()
    expect(page.get_by_text("1 customer got the free plan.")).to_be_visible()
    assert Subscription.objects.get(user=site.orphan).tier == "free"
    assert support.troubles == []


def test_key_is_made_shown_once_and_revoked(visit: Callable[..., Visit], site: back_office.Site) -> None:
    support = visit("support")
    page = support.open(f"/admin/billing/user/{site.customer.pk}/change/")
    page.get_by_role("link", name="Create key").click()
    page.fill("[name=name]", "Made in the browser")
    page.fill("[name=reason]", "Customer lost theirs")
    page.get_by_role("button", name="Create key").click()
    raw = page.locator(".gf-secret code").inner_text()
    assert raw.startswith("glyph_sk_")
    page.get_by_role("link", name="Done").click()
    assert raw not in page.content()

    row = page.get_by_role("row", name="Made in the browser")
    row.get_by_role("link", name="Revoke").click()
    page.fill("[name=reason]", "Not needed after all")
    page.get_by_role("button", name="Revoke").click()
    expect(row.get_by_text("Not needed after all")).to_be_visible()
    assert support.troubles == []


def test_going_back_to_a_confirmation_that_was_sent_repeats_nothing(
    visit: Callable[..., Visit], site: back_office.Site
) -> None:
    lead = visit("billing_lead")
    page = lead.open(row_page(Payment.objects.get(user=site.recorded.user), "refund"))

    def refund() -> None:
        page.fill("[name=amount]", "10.00")
        page.fill("[name=reason]", "Ticket 4711")
        page.get_by_role("button", name="Refund").click()

    with back_office.stripe(site.world):
        refund()
        expect(page.get_by_text("Stripe refunds 10.00 USD")).to_be_visible()
        page.go_back()
        refund()
        expect(page.get_by_text("This form was sent before")).to_be_visible()
        page.get_by_role("link", name="Refund").click()
        expect(page.locator("[name=reason]")).to_have_value("")
    asked = StripeRequest.objects.filter(row_id=site.recorded.user.payments.get().pk)
    assert asked.count() == AuditEntry.objects.filter(action="refund").count() == 1
    assert lead.troubles == []
