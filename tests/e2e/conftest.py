"""The whole back office behind a real HTTP server, and a real Chromium in front of it."""

import os
import shutil
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest
from django.db import connections
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright
from pytest_django.live_server_helper import LiveServer

from billing import roles
from tests import database
from tests.e2e import scene
from tests.e2e.ceiling import Ceiling
from tests.needs import require

PASSWORD = "correct horse battery staple"
# For a machine that does much else meanwhile; alone every page answers in less than a second.
PATIENCE_MS = 60_000
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
def ceiling() -> Iterator[Ceiling]:
    """What every page of the module costs."""
    with Ceiling().held() as ceiling:
        yield ceiling


@pytest.fixture(scope="module")
def site(chromium: Browser, ceiling: Ceiling, django_db_setup: None, django_db_blocker: Any) -> Iterator[scene.Scene]:
    """One committed scene and one server for a module; the database is copied anew afterwards."""
    with django_db_blocker.unblock():
        for role in roles.ROLES:
            roles.create_staff(role, role, password=PASSWORD, email=f"{role}@glyphforge.example")
        staged = scene.stage()
        server = LiveServer("127.0.0.1")
        staged.url = server.url
        yield staged
        server.stop()
        connections["default"].close()
        database.create_for()


class Visit:
    """A page of a signed-in browser that keeps what must not happen: console errors and requests to other hosts."""

    def __init__(self, context: BrowserContext, url: str) -> None:
        self.page: Page = context.new_page()
        self.url = url
        self.troubles: list[str] = []
        self.page.on("console", self._console)
        self.page.on("pageerror", lambda error: self.troubles.append(f"{self.page.url}: {error}"))
        self.page.on("request", self._request)

    def _console(self, message: Any) -> None:
        if message.type == "error":
            self.troubles.append(f"{self.page.url}: {message.text}")

    def _request(self, request: Any) -> None:
        if urlsplit(request.url).scheme in {"http", "https"} and not request.url.startswith(self.url):
            self.troubles.append(f"{self.page.url} asked {request.url}")

    def open(self, path: str) -> Page:
        """Open a page of the back office; anything but a success is a trouble."""
        response = self.page.goto(self.url + path)
        if response is None or not response.ok:
            self.troubles.append(f"{path}: {response.status if response else 'no answer'}")
        return self.page


@pytest.fixture
def visit(chromium: Browser, site: scene.Scene) -> Iterator[Callable[..., Visit]]:
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
