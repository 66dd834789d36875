"""The command palette: pages by what navigation calls them or by other words, and what the apps add."""

from collections.abc import Iterable
from typing import Any

from django.conf import settings
from django.http import HttpRequest
from django.utils.module_loading import import_string
from unfold.dataclasses import SearchResult

from glyphforge.admin.sidebar import items

MOST_PAGES = 8


def find(request: HttpRequest, term: str) -> list[Any]:
    """What is shown for what was typed, in small letters: pages, then what `settings.PALETTE` finds.

    Each of those takes the same arguments. A page is found where every word begins one of its own or of its synonyms;
    those whose name it is come first.
    """
    found = [*_pages(request, term.split())]
    for finder in settings.PALETTE:
        found += import_string(finder)(request, term)
    return found or [SearchResult(title="Nothing found", description=f"for “{term}”", link="#", icon="search_off")]


def _pages(request: HttpRequest, words: list[str]) -> Iterable[SearchResult]:
    named: list[dict[str, Any]] = []
    meant: list[dict[str, Any]] = []
    for item in items():
        title, also = item["title"].lower(), " ".join(item["also"])
        if _begin(words, f"{title} {also}") and item["permission"](request):
            (named if _begin(words, title) else meant).append(item)
    return [
        SearchResult(title=item["title"], description="Page", link=str(item["link"]), icon=item["icon"])
        for item in [*named, *meant][:MOST_PAGES]
    ]


def _begin(words: list[str], text: str) -> bool:
    known = text.split()
    return bool(words) and all(any(each.startswith(word) for each in known) for word in words)
