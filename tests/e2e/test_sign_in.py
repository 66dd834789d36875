"""Sign-in and the API's documentation: the content security policy breaks nothing, and everybody can use the pages."""

from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.support import back_office
from tests.support.browser import PHONE, Visit, violations
from tests.support.sign_in import PASSWORD, Codes, authenticator_app

pytestmark = [pytest.mark.browser, pytest.mark.slow]


@pytest.fixture
def visitor(chromium: Browser, site: back_office.Site) -> Iterator[Visit]:
    """Somebody with a phone, not signed in."""
    context = chromium.new_context(**PHONE)
    yield Visit(context, site.url)
    context.close()


@pytest.fixture
def app(monkeypatch: pytest.MonkeyPatch) -> Codes:
    return authenticator_app(monkeypatch)


def log_in(page: Page) -> None:
    page.get_by_label("Username").fill("auditor")
    page.get_by_label("Password").fill(PASSWORD)
    page.keyboard.press("Enter")


def test_second_factor_is_set_up_at_the_first_sign_in_and_asked_for_at_the_next(
    visitor: Visit, app: Codes, settings: Any
) -> None:
    settings.STAFF_SECOND_FACTOR_REQUIRED = True
    page = visitor.open("/admin/")
    assert violations(page) == []
    log_in(page)

    page.wait_for_url("**/admin/security/set-up/**")
    expect(page.get_by_alt_text("QR code of the secret below")).to_be_visible()
    assert violations(page) == []
    secret = page.locator("code").inner_text()
    page.get_by_label("Authenticator code").fill(app(secret))
    page.get_by_role("button", name="Turn on").click()

    expect(page.get_by_role("list", name="Recovery codes").locator("li")).to_have_count(10)
    assert violations(page) == []
    page.get_by_role("link", name="Go to the back office").click()
    page.wait_for_url("**/admin/")

    page.context.clear_cookies()
    visitor.open("/admin/login/")
    log_in(page)
    page.wait_for_url("**/admin/login/code/")
    assert violations(page) == []
    page.keyboard.type(app(secret))  # the field has the focus
    page.keyboard.press("Enter")
    page.wait_for_url("**/admin/")
    visitor.open("/admin/security/")
    expect(page.get_by_text("Your second factor is on")).to_be_visible()
    assert violations(page) == []
    assert visitor.troubles == []


def test_documentation_of_the_api_works_under_the_strict_policy(visitor: Visit) -> None:
    page = visitor.open("/api/v1/docs")
    page.get_by_text("Authenticate a customer's key").first.click()
    expect(page.get_by_text("Say whether a key may be used now")).to_be_visible()
    assert visitor.troubles == []
