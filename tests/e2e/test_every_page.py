"""Every page as every role: it opens, says nothing on the console, and asks no other host."""

from collections.abc import Callable
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect

from billing import roles
from billing.models import ApiKey, AuditEntry
from tests.e2e import scene
from tests.e2e.conftest import Visit

pytestmark = [pytest.mark.browser, pytest.mark.slow]
PHONE = {"viewport": {"width": 390, "height": 844}, "is_mobile": True, "has_touch": True}


def customer_page(site: scene.Scene) -> str:
    return f"/admin/billing/user/{site.customer.pk}/change/"


def details(site: scene.Scene) -> list[str]:
    """A page of one row of each kind."""
    entry, key = AuditEntry.objects.order_by("pk").first(), ApiKey.objects.first()
    assert entry is not None
    assert key is not None
    return [
        customer_page(site),
        f"/admin/billing/subscription/{site.recorded.pk}/change/",
        f"/admin/billing/payment/{site.payment.pk}/change/",
        f"/admin/billing/webhookevent/{site.failed.pk}/change/",
        f"/admin/billing/apikey/{key.pk}/change/",
        f"/admin/billing/auditentry/{entry.pk}/change/",
        "/admin/billing/user/find/?q=example",
    ]


def sidebar(page: Page) -> list[str]:
    links = page.eval_on_selector_all("#nav-sidebar-apps a", "links => links.map(a => a.getAttribute('href'))")
    return sorted({link for link in links if link.startswith("/admin/")})


@pytest.mark.parametrize("role", roles.ROLES)
def test_every_page_that_the_role_is_shown_opens_quietly(
    role: str, visit: Callable[..., Visit], site: scene.Scene
) -> None:
    visitor = visit(role)
    paths = sidebar(visitor.page)
    assert len(paths) > 15
    for path in [*paths, *details(site)]:
        visitor.open(path)
    assert visitor.troubles == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_main_pages_have_no_accessibility_violation(
    scheme: Any, visit: Callable[..., Visit], site: scene.Scene
) -> None:
    lead = visit("billing_lead", color_scheme=scheme)
    found = []
    for path in (
        "/admin/",
        "/admin/billing/user/",
        customer_page(site),
        "/admin/billing/webhookevent/",
        f"/admin/billing/webhookevent/{site.failed.pk}/change/",
        "/admin/billing/webhookevent/do/retry_webhooks/",
        f"/admin/billing/payment/{site.payment.pk}/do/refund/",
        "/admin/billing/user/find/?q=example",
    ):
        page = lead.open(path)
        options = {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa"], "resultTypes": ["violations"]}
        for violation in Axe().run(page, options=options).response["violations"]:
            nodes = [node["html"][:200] for node in violation["nodes"][:3]]
            found.append(f"{path} {violation['id']}: {violation['help']}: {nodes}")
    assert found == []


def test_every_action_of_the_customer_page_is_reached_by_keyboard(
    visit: Callable[..., Visit], site: scene.Scene
) -> None:
    lead = visit("billing_lead")
    page = lead.open(customer_page(site))
    wanted = set(page.eval_on_selector_all("#content a[href*='/do/']", "links => links.map(a => a.href)"))
    assert len(wanted) > 6
    reached = set()
    for _ in range(150):
        page.keyboard.press("Tab")
        reached.add(page.evaluate("document.activeElement.href"))
        if wanted <= reached:
            break
    assert wanted <= reached

    page.get_by_role("link", name="Add note").focus()
    page.keyboard.press("Enter")
    page.wait_for_url("**/do/note/**")
    page.wait_for_selector("textarea:focus")
    page.keyboard.type("Written without a mouse")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(page.get_by_text("Written without a mouse").first).to_be_visible()
    assert lead.troubles == []


def test_back_office_fits_a_phone(visit: Callable[..., Visit], site: scene.Scene) -> None:
    support = visit("support", **PHONE)
    for path in (
        "/admin/",
        "/admin/billing/user/",
        customer_page(site),
        "/admin/billing/webhookevent/",
        f"/admin/billing/webhookevent/{site.failed.pk}/change/",
        "/admin/billing/webhookevent/do/retry_webhooks/",
    ):
        page = support.open(path)
        assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["viewport"]["width"], path
    assert support.troubles == []
