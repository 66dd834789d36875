"""What the back office's own templates need beyond Django's and Unfold's tags."""

from functools import cache
from typing import Any

from django import template
from django.utils.text import capfirst

from glyphforge.navigation import UNFOLD

register = template.Library()


@cache
def _titles() -> dict[str, str]:
    items = [item for group in UNFOLD["SIDEBAR"]["navigation"] for item in group["items"]]
    return {str(item["link"]): str(item["title"]) for item in items}


@register.simple_tag
def crumbs(parts: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The way to this page, without the app that it is programmed in; a list is called as in the sidebar."""
    first, *others = parts[1:] or parts
    name = _titles().get(str(first.get("link"))) or capfirst(first["title"])
    return [first | {"title": name}, *others]
