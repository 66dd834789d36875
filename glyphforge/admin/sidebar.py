"""What the tabs and the sidebar say, as the setting UNFOLD has it."""

from collections.abc import Iterator
from typing import Any

from django.conf import settings


def title_of(link: str) -> str | None:
    """What navigation calls the page; None for a page that is not in it."""
    return next((item["title"] for item in items() if str(item["link"]) == link), None)


def link_of(title: str) -> str | None:
    """The page that navigation calls so; None where it has none."""
    return next((str(item["link"]) for item in items() if item["title"] == title), None)


def items() -> Iterator[dict[str, Any]]:
    """Every page: `title`, `link`, `icon` of its place, other words in `also`, and `permission`, asked of a request."""
    for tabs in settings.UNFOLD["TABS"]:
        yield from tabs["items"]
