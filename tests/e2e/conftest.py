"""The whole back office behind a real HTTP server, and a real Chromium in front of it."""

import os
import shutil
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.db import connections
from django.test import Client
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright
from pytest_django.live_server_helper import LiveServer

from glyphforge import roles
from tests.support import back_office, database, factories
from tests.support.browser import DESKTOP, PATIENCE_MS, Visit
from tests.support.needs import require
from tests.support.query_limit import QueryLimit
from tests.support.sign_in import PASSWORD

# The shell is Chromium without a window around the page, at a third less work.
NAMES = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


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


@pytest.fixture(scope="module")
def sign_in(chromium: Browser, site: back_office.Site) -> Iterator[Callable[[str], BrowserContext]]:
    """Signs somebody of the role in, in a browser of their own that lasts as long as the module."""
    contexts = []

    def sign_in(role: str) -> BrowserContext:
        client = Client()
        client.force_login(get_user_model().objects.get(username=role))
        context = chromium.new_context(**DESKTOP)
        context.set_default_timeout(PATIENCE_MS)
        cookies = client.cookies.items()
        context.add_cookies([{"name": name, "value": cookie.value, "url": site.url} for name, cookie in cookies])
        contexts.append(context)
        return context

    yield sign_in
    for context in contexts:
        context.close()


@pytest.fixture(scope="module")
def signed_in_as(sign_in: Callable[[str], BrowserContext]) -> Callable[[str], BrowserContext]:
    """The browser in which the role's sign-in lasts through the module, with what pages have in common in its cache."""
    return cache(sign_in)


@pytest.fixture
def visit(
    chromium: Browser, site: back_office.Site, signed_in_as: Callable[[str], BrowserContext]
) -> Iterator[Callable[..., Visit]]:
    """An empty page of somebody of the role, who is signed in; with options, in another browser, made so."""
    pages: list[Page] = []
    others: list[BrowserContext] = []

    def visit(role: str, **options: Any) -> Visit:
        context = signed_in_as(role)
        if options:
            context = chromium.new_context(**(DESKTOP | options), storage_state=context.storage_state())
            context.set_default_timeout(PATIENCE_MS)
            others.append(context)
        visit = Visit(context, site.url)
        pages.append(visit.page)
        return visit

    yield visit
    for page in pages:
        page.goto("about:blank")  # a page that is closed while it loads is now and then waited for without end
        page.close()
    for context in others:
        context.close()
