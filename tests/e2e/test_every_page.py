"""Every page as every role: it opens, says nothing on the console, asks no other host and few queries."""

from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from billing.admin.customer_link import as_of_url
from billing.models import ApiKey
from glyphforge import roles
from glyphforge.audit.models import AuditEntry
from tests.support.admin_pages import lists_of
from tests.support.back_office import Site
from tests.support.browser import COLOURS, PHONE, Visit, violations
from tests.support.query_limit import QueryLimit

pytestmark = [pytest.mark.browser, pytest.mark.slow]
HIDDEN_WIDTH = "(list => list.scrollWidth - list.parentElement.clientWidth)(document.querySelector('#result_list'))"


def customer_page(site: Site) -> str:
    return f"/admin/billing/user/{site.customer.pk}/change/"


def details(site: Site) -> list[str]:
    """A page of one row of each kind."""
    entry = AuditEntry.objects.earliest("pk")
    key = ApiKey.objects.filter(user=site.customer).earliest("created_at")
    return [
        customer_page(site),
        f"{customer_page(site)}?at=2026-01-01",
        f"/admin/billing/subscription/{site.recorded.pk}/change/",
        f"/admin/billing/payment/{site.payment.pk}/change/",
        f"/admin/billing/webhookevent/{site.failed.pk}/change/",
        f"/admin/billing/apikey/{key.pk}/change/",
        f"/admin/audit/auditentry/{entry.pk}/change/",
        "/admin/billing/user/find/?q=example",
    ]


def main_pages(site: Site) -> list[str]:
    """Where staff spend their day."""
    return [
        "/admin/",
        "/admin/billing/user/",
        customer_page(site),
        as_of_url(site.customer.pk, site.customer.notes.get().created_at) + "&compare=now",
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
        "/admin/audit/auditentry/",
        "/admin/audit/auditentry/?table_name=plan_prices&q=nobody",
        "/admin/monitoring/paymentatrisk/",
        "/admin/monitoring/expiringcard/",
        "/admin/monitoring/alert/",
        f"/admin/monitoring/alert/{site.alert.pk}/change/",
        f"/admin/monitoring/alert/{site.alert.pk}/do/snooze/",
        "/admin/monitoring/systemhealth/",
        "/admin/monitoring/healthcheck/connections/change/",
        "/admin/monitoring/jobschedule/",
        "/admin/monitoring/jobschedule/daily/change/",
    ]


def leads_pages() -> list[str]:
    """Where those look who answer for the money."""
    return [
        "/admin/monitoring/retention/",
        "/admin/monitoring/retentioncustomer/",
        "/admin/monitoring/lifetimevalue/",
        "/admin/monitoring/forecast/",
        "/admin/monitoring/renewal/",
    ]


def operators_pages() -> list[str]:
    """Where an operator looks after the database, some of which nobody else opens."""
    return [
        "/admin/monitoring/databasesession/",
        "/admin/monitoring/topquery/",
        "/admin/monitoring/indexfinding/",
        "/admin/monitoring/schemadifference/",
        "/admin/monitoring/notification/do/test/",
        "/admin/monitoring/jobschedule/rollup/change/",
    ]


def sidebar(page: Page) -> set[str]:
    links = page.eval_on_selector_all("#nav-sidebar-apps a", "links => links.map(a => a.getAttribute('href'))")
    return {link for link in links if link.startswith("/admin/")}


def barriers(page: Page) -> list[str]:
    """What keeps somebody out of the page, in light colours and in dark ones."""
    found = violations(page)
    # The page asks for the scheme once, as it opens; the colours are all that differs.
    page.emulate_media(color_scheme="dark")
    page.evaluate("document.documentElement.classList.add('dark')")
    found += [f"in the dark {violation}" for violation in violations(page, COLOURS)]
    page.emulate_media(color_scheme="light")
    return found


@pytest.mark.parametrize("role", roles.ROLES)
def test_every_page_that_the_role_is_shown_opens_quietly_within_its_queries_and_the_main_ones_to_everybody(
    role: str, visit: Callable[..., Visit], site: Site, query_limit: QueryLimit
) -> None:
    visitor = visit(role)
    shown = details(site)
    examined = {"billing_lead": [*main_pages(site), *leads_pages()], "operator": operators_pages()}.get(role, [])
    lists = lists_of(role)
    assert sidebar(visitor.open("/admin/")) <= {"/admin/", *lists}
    paths = list(dict.fromkeys(["/admin/", *lists, *shown, *examined]))
    assert len(paths) > 25
    answered, opened, cut, barred = query_limit.seen, 0, [], {}
    for path in paths:
        page = visitor.open(path)
        opened += 1
        if page.locator("#result_list").count() and page.evaluate(HIDDEN_WIDTH) > 0:
            cut.append(path)
        row = page.locator(f"#result_list a[href^='{path}'][href*='/change/']")
        following = row.first.get_attribute("href") if row.count() else None
        if path in examined and (found := barriers(page)):
            barred[path] = found
        if following and not any(detail.startswith(path) for detail in shown):
            visitor.open(following)
            opened += 1
    assert visitor.troubles == []
    assert cut == []  # on a laptop's screen
    assert barred == {}
    assert opened > len(paths) + 8
    assert query_limit.seen >= answered + opened
    assert query_limit.exceeded == []


def test_pages_are_dark_where_the_reader_wants_them_so(visit: Callable[..., Visit], site: Site) -> None:
    schemes: list[Any] = ["light", "dark"]
    for scheme in schemes:
        support = visit("support", color_scheme=scheme)
        expect(support.open("/admin/").locator("html.dark")).to_have_count(int(scheme == "dark"))


def test_back_office_fits_a_phone(visit: Callable[..., Visit], site: Site) -> None:
    support, operator, lead = (visit(role, **PHONE) for role in ("support", "operator", "billing_lead"))
    # Not support's.
    paths = [path for path in main_pages(site) if "refund" not in path and "map_price" not in path]
    everybody = [(support, paths), (operator, operators_pages()), (lead, leads_pages())]
    for visitor, path in [(visitor, path) for visitor, shown in everybody for path in shown]:
        page = visitor.open(path)
        assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["viewport"]["width"], path
    assert support.troubles == operator.troubles == lead.troubles == []
