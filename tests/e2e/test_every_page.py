"""Every page as every role: it opens, says nothing on the console, asks no other host and few queries."""

from collections.abc import Callable
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page

from billing import roles
from billing.models import ApiKey, AuditEntry
from tests.e2e import scene
from tests.e2e.ceiling import Ceiling
from tests.e2e.conftest import Visit

pytestmark = [pytest.mark.browser, pytest.mark.slow]
HIDDEN_WIDTH = "(list => list.scrollWidth - list.parentElement.clientWidth)(document.querySelector('#result_list'))"
PHONE = {"viewport": {"width": 390, "height": 844}, "is_mobile": True, "has_touch": True}


def customer_page(site: scene.Scene) -> str:
    return f"/admin/billing/user/{site.customer.pk}/change/"


def details(site: scene.Scene) -> list[str]:
    """A page of one row of each kind."""
    entry = AuditEntry.objects.earliest("pk")
    key = ApiKey.objects.filter(user=site.customer).earliest("created_at")
    return [
        customer_page(site),
        f"/admin/billing/subscription/{site.recorded.pk}/change/",
        f"/admin/billing/payment/{site.payment.pk}/change/",
        f"/admin/billing/webhookevent/{site.failed.pk}/change/",
        f"/admin/billing/apikey/{key.pk}/change/",
        f"/admin/billing/auditentry/{entry.pk}/change/",
        "/admin/billing/user/find/?q=example",
    ]


def main_pages(site: scene.Scene) -> list[str]:
    """Where staff spend their day."""
    return [
        "/admin/",
        "/admin/billing/user/",
        customer_page(site),
        "/admin/billing/user/find/?q=example",
        "/admin/billing/user/find/?q=nobody",
        "/admin/billing/subscription/",
        f"/admin/billing/subscription/{site.recorded.pk}/change/",
        "/admin/billing/payment/",
        f"/admin/billing/payment/{site.payment.pk}/do/refund/",
        "/admin/billing/plan/",
        "/admin/billing/planprice/",
        "/admin/billing/planprice/do/map_price/",
        "/admin/billing/webhookevent/",
        f"/admin/billing/webhookevent/{site.failed.pk}/change/",
        "/admin/billing/webhookevent/do/retry_webhooks/",
        "/admin/billing/auditentry/",
        "/admin/billing/auditentry/?table_name=plan_prices&q=nobody",
        "/admin/monitoring/alert/",
        f"/admin/monitoring/alert/{site.alert.pk}/change/",
        f"/admin/monitoring/alert/{site.alert.pk}/do/snooze/",
        "/admin/monitoring/systemhealth/",
        "/admin/monitoring/healthcheck/connections/change/",
        "/admin/monitoring/jobschedule/",
        "/admin/monitoring/jobschedule/daily/change/",
    ]


def sidebar(page: Page) -> list[str]:
    links = page.eval_on_selector_all("#nav-sidebar-apps a", "links => links.map(a => a.getAttribute('href'))")
    return sorted({link for link in links if link.startswith("/admin/")})


@pytest.mark.parametrize("role", roles.ROLES)
def test_every_page_that_the_role_is_shown_opens_quietly_and_within_its_queries(
    role: str, visit: Callable[..., Visit], site: scene.Scene, ceiling: Ceiling
) -> None:
    visitor = visit(role)
    paths = [*sidebar(visitor.page), *details(site)]
    assert len(paths) > 25
    answered, opened, cut = ceiling.seen, 0, []
    for path in paths:
        page = visitor.open(path)
        opened += 1
        if page.locator("#result_list").count() and page.evaluate(HIDDEN_WIDTH) > 0:
            cut.append(path)
        row = page.locator(f"#result_list a[href^='{path}'][href*='/change/']")
        if row.count():
            visitor.open(str(row.first.get_attribute("href")))
            opened += 1
    assert visitor.troubles == []
    assert cut == []  # on a laptop's screen
    assert opened > len(paths) + 15
    assert ceiling.seen >= answered + opened
    assert ceiling.exceeded == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_main_pages_have_no_accessibility_violation(
    scheme: Any, visit: Callable[..., Visit], site: scene.Scene
) -> None:
    lead = visit("billing_lead", color_scheme=scheme)
    found = []
    for path in main_pages(site):
        page = lead.open(path)
        options = {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa"], "resultTypes": ["violations"]}
        for violation in Axe().run(page, options=options).response["violations"]:
            nodes = [node["html"][:200] for node in violation["nodes"][:3]]
            found.append(f"{path} {violation['id']}: {violation['help']}: {nodes}")
    assert found == []


def test_back_office_fits_a_phone(visit: Callable[..., Visit], site: scene.Scene) -> None:
    support = visit("support", **PHONE)
    for path in main_pages(site):
        if "refund" in path or "map_price" in path:
            continue  # not support's
        page = support.open(path)
        assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["viewport"]["width"], path
    assert support.troubles == []
