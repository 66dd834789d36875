"""The whole back office behind a real HTTP server, and a real Chromium in front of it."""

import os
import shutil
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.db import connections
from playwright.sync_api import Browser, expect, sync_playwright
from pytest_django.live_server_helper import LiveServer

from glyphforge import roles
from tests.support import back_office, database, factories
from tests.support.browser import PATIENCE_MS, Visit
from tests.support.needs import require
from tests.support.query_limit import QueryLimit
from tests.support.sign_in import PASSWORD

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    path = next((found for found in map(shutil.which, NAMES) if found), None)
    require(path, "Chromium: `apt-get install chromium`")
    # Playwright's event loop makes Django take this thread for an asynchronous one.
    os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"] = "true"
    expect.set_options(timeout=PATIENCE_MS)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield browser
        browser.close()
    del os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"]


@pytest.fixture(scope="module")
def query_limit() -> Iterator[QueryLimit]:
    """What every page of the module costs."""
    with QueryLimit().held() as query_limit:
        yield query_limit


@pytest.fixture(scope="module")
def site(
    chromium: Browser, query_limit: QueryLimit, django_db_setup: None, django_db_blocker: Any
) -> Iterator[back_office.Site]:
    """One committed site and one server for a module; the database is copied anew afterwards."""
    with django_db_blocker.unblock():
        for role in roles.ROLES:
            factories.staff(role, username=role, password=PASSWORD, email=f"{role}@glyphforge.example")
        site = back_office.create_site()
        server = LiveServer("127.0.0.1")
        site.url = server.url
        yield site
        server.stop()
        connections["default"].close()
        database.create_for()


@pytest.fixture
def visit(chromium: Browser, site: back_office.Site) -> Iterator[Callable[..., Visit]]:
    """Signs somebody of the role in, by the form."""
    contexts = []

    def sign_in(role: str, **options: Any) -> Visit:
        context = chromium.new_context(**({"viewport": {"width": 1440, "height": 900}} | options))
        context.set_default_timeout(PATIENCE_MS)
        contexts.append(context)
        visit = Visit(context, site.url)
        page = visit.open("/admin/login/")
        page.fill("[name=username]", role)
        page.fill("[name=password]", PASSWORD)
        page.click("[type=submit]")
        page.wait_for_url(f"{site.url}/admin/")
        return visit

    yield sign_in
    for context in contexts:
        context.close()
