"""What a page costs on its way to a browser: bytes, as they are sent."""

import gzip
import posixpath
import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.core.management import call_command
from django.test import Client, override_settings

from billing.models import ApiKey, ApiUsage, Payment, Subscription, User, WebhookEvent
from glyphforge.audit.models import AuditEntry
from glyphforge.settings import STORAGES
from monitoring.models import Alert, SystemHealth
from tests.support import factories, icon_font
from tests.support.admin_pages import page_of, row_page

KIB = 1024
ASKED = re.compile(r'<(?:script|link)[^>]* (?:src|href)="(/static/[^"]+)"')
GZIP = {"Accept-Encoding": "gzip"}
LISTS = [User, Subscription, ApiKey, Payment, ApiUsage, WebhookEvent, AuditEntry, Alert, SystemHealth]


@pytest.fixture(scope="module")
def collected(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Static files as `collectstatic` leaves them."""
    hashed = STORAGES | {"staticfiles": {"BACKEND": "glyphforge.web.static_files.HashedFiles"}}
    with override_settings(STATIC_ROOT=tmp_path_factory.mktemp("static"), STORAGES=hashed):
        call_command("collectstatic", interactive=False, verbosity=0)
        yield


@pytest.fixture
def lead(signed_in: Callable[[str], Client]) -> Client:
    return signed_in("billing_lead")


@pytest.fixture
def customers(db: None) -> list[User]:
    """More than a list shows, with what a customer has."""
    customers = []
    for number in range(30):
        customer = factories.customer(
            email=f"somebody.{number}@company-{number}.example", stripe_customer_id=f"cus_{number:014}"
        )
        factories.subscription(customer)
        factories.payment(customer)
        factories.api_key(customer)
        factories.requests(customer)
        factories.webhook_event()
        factories.alert(
            fingerprint=f"stale:{number}",
            subject=str(customer.email),
            message="The professional plan is shown as active, its period ended 25 days ago.",
            object_type="user",
            object_id=str(customer.pk),
        )
        customers.append(customer)
    return customers


def sent(client: Client, path: str) -> Any:
    """The answer to a browser, which takes gzip; whitenoise streams."""
    answer = client.get(path, headers=GZIP)
    assert answer.status_code == 200, path
    body = b"".join(answer.streaming_content) if answer.streaming else answer.content
    return answer, body


def test_first_visit_of_a_page_is_under_700_kib_and_the_next_asks_for_nothing_but_the_page(
    collected: None, lead: Client, customers: list[User]
) -> None:
    for path in ["/admin/", *map(page_of, (User, Alert)), row_page(customers[0])]:
        answer, body = sent(lead, path)
        assert answer.headers["Content-Encoding"] == "gzip"
        weight, page = len(body), gzip.decompress(body).decode()
        assets = set(ASKED.findall(page))
        assert len(assets) > 15
        for asset in [each for each in assets if each.endswith(".css")]:
            style = gzip.decompress(sent(lead, asset)[1]).decode()
            # All that a style may ask for, whether or not the page has need of it.
            found = re.findall(r"url\([\"']?([^\"')]+)[\"']?\)", style)
            assets |= {posixpath.normpath(posixpath.join(posixpath.dirname(asset), url)) for url in found}
        for asset in [each for each in assets if each.startswith("/static/")]:
            answer, body = sent(lead, asset)
            assert answer.headers["Cache-Control"] == "max-age=315360000, public, immutable", asset
            assert asset.endswith((".woff2", ".svg")) or len(body) < 2 * KIB or "Content-Encoding" in answer.headers
            weight += len(body)
        assert weight < 700 * KIB, path


@pytest.mark.parametrize("model", LISTS, ids=lambda model: model.__name__)
def test_html_of_a_list_of_25_rows_is_under_120_kib(model: Any, lead: Client, customers: list[User]) -> None:
    answer = lead.get(page_of(model))
    assert len(answer.context["cl"].result_list) == 25
    assert len(answer.content) < 120 * KIB


@pytest.mark.django_db
def test_filters_come_when_they_are_opened(lead: Client) -> None:
    path = page_of(Subscription)
    assert "?tier=" not in lead.get(path).content.decode()
    opened = lead.get(f"{path}?q=ada", headers={"HX-Target": "changelist-filter"}).content.decode()
    assert "?q=ada&amp;tier=starter" in opened.replace("tier__exact", "tier")
    assert "result_list" not in opened


def test_every_icon_of_a_page_is_in_the_font() -> None:
    missing = icon_font.used() - icon_font.names(icon_font.ICONS).keys()
    assert not missing, "write the font anew: make icons"
    assert icon_font.ICONS.stat().st_size < 30 * KIB


def test_icons_named_in_the_sidebar_exist(settings: Any) -> None:
    groups = settings.UNFOLD["SIDEBAR"]["navigation"]
    icons = {item["icon"] for group in groups for item in group["items"]}
    assert icons <= icon_font.used()
    assert len(icons) > 10
