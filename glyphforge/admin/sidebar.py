"""What the sidebar says, as the setting UNFOLD has it."""

from collections.abc import Iterator
from typing import Any

from django.conf import settings


def title_of(link: str) -> str | None:
    """What the sidebar calls the page; None for a page that is not in it."""
    return next((item["title"] for item in _items() if str(item["link"]) == link), None)


def link_of(title: str) -> str | None:
    """The page that the sidebar calls so; None where it has none."""
    return next((str(item["link"]) for item in _items() if item["title"] == title), None)


def _items() -> Iterator[dict[str, Any]]:
    return (item for group in settings.UNFOLD["SIDEBAR"]["navigation"] for item in group["items"])
