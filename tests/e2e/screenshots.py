"""Draws the pictures of README and docs: `make screenshots`. Collected only when named."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command
from django.db.models import Count

from billing.models import User, WebhookEvent
from billing.services import notes
from tests.support import back_office
from tests.support.browser import DESKTOP, PHONE, Visit

pytestmark = [pytest.mark.browser, pytest.mark.slow]
FOLDER = Path(__file__).resolve().parents[2] / "docs" / "screenshots"
DARK = {"color_scheme": "dark"}
TALL = {"viewport": {"width": 1440, "height": 1240}}


@pytest.fixture(scope="module")
def customer(site: back_office.Site, django_db_blocker: Any) -> User:
    """A demo's data around the site, and in it a customer with much to show."""
    size = os.environ.get("SCREENSHOT_USERS", "800")
    with django_db_blocker.unblock():
        call_command("seed_demo", users=int(size), usage=int(size) * 150, force=True)
        for job in ("rollup", "webhooks", "sync", "health", "health", "health"):
            call_command("run_job", job)  # as the schedule would have
        payers = User.objects.filter(subscriptions__tier="professional", subscriptions__status="active")
        user = payers.annotate(charges=Count("payments")).order_by("-charges", "email")[0]
        notes.add(user, author="support", body="Moves to yearly billing in January; call before the renewal.")
        return user


def test_draw(customer: User, site: back_office.Site, visit: Callable[..., Visit]) -> None:
    failed = WebhookEvent.objects.filter(status="failed").latest("received_at")
    FOLDER.mkdir(parents=True, exist_ok=True)
    page_of = f"/admin/billing/user/{customer.pk}/change/"
    pictures: list[tuple[str, str, dict[str, Any]]] = [
        ("dashboard", "/admin/", {}),
        ("dashboard-dark", "/admin/", DARK),
        ("subscriptions", "/admin/billing/subscription/", {}),
        ("customer", page_of, TALL),
        ("customer-dark", page_of, TALL | DARK),
        ("customer-phone", page_of, PHONE | {"device_scale_factor": 2}),
        ("webhook-event", f"/admin/billing/webhookevent/{failed.pk}/change/", {}),
        ("retry", "/admin/billing/webhookevent/do/retry_webhooks/", {}),
        ("alerts", "/admin/monitoring/alert/", {}),
        ("health", "/admin/monitoring/systemhealth/", {}),
        ("audit-log", "/admin/audit/auditentry/", {}),
    ]
    for name, path, options in pictures:
        visitor = visit("billing_lead", **(DESKTOP | options))
        page = visitor.open(path)
        page.evaluate("document.fonts.ready.then(() => true)")
        drawn = "[...document.querySelectorAll('canvas.chart')].every(canvas => Chart.getChart(canvas))"
        page.wait_for_function(drawn)
        page.screenshot(path=FOLDER / f"{name}.png")
        assert visitor.troubles == []
