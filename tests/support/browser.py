"""A page in a real Chromium, and what must not happen on it."""

from typing import Any
from urllib.parse import urlsplit

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import BrowserContext, Page

# For a machine that does much else meanwhile; alone every page answers in less than a second.
PATIENCE_MS = 60_000
DESKTOP: dict[str, Any] = {"viewport": {"width": 1440, "height": 900}}
PHONE: dict[str, Any] = {"viewport": {"width": 390, "height": 844}, "is_mobile": True, "has_touch": True}


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


WCAG = ("wcag2a", "wcag2aa", "wcag21a", "wcag21aa")
COLOURS = ("color-contrast",)


def violations(page: Page, rules: tuple[str, ...] = WCAG) -> list[str]:
    """Where the page breaks the rules of WCAG 2.1 A and AA that can be checked: the rule and the first elements."""
    if not page.evaluate("'axe' in window"):
        page.evaluate(Axe().axe_script)
    options = {"runOnly": list(rules), "resultTypes": ["violations"]}
    return [
        f"{violation['id']}: {violation['help']}: {[node['html'][:200] for node in violation['nodes'][:3]]}"
        for violation in page.evaluate("options => axe.run(document, options)", options)["violations"]
    ]
