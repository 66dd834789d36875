"""What the back office's own templates need beyond Django's and Unfold's tags."""

from typing import Any

from django import template
from django.utils.text import capfirst

from glyphforge.navigation import title_of

register = template.Library()


@register.simple_tag
def crumbs(parts: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The way to this page, without the app that it is programmed in; a list is called as in the sidebar."""
    first, *others = parts[1:] or parts
    name = title_of(str(first.get("link"))) or capfirst(first["title"])
    return [first | {"title": name}, *others]
