"""What the back office's own templates need beyond Django's and Unfold's tags."""

from typing import Any

from django import template
from django.conf import settings
from django.template import RequestContext
from django.utils.text import capfirst

from glyphforge.admin.sidebar import title_of
from glyphforge.database import installation

register = template.Library()


@register.simple_tag
def crumbs(parts: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The way to this page, without the app that it is programmed in; a list is called as in the sidebar.

    The parts are Unfold's: dictionaries of `title` and, where it leads somewhere, `link`.
    """
    first, *others = parts[1:] or parts
    name = title_of(str(first.get("link"))) or capfirst(first["title"])
    return [first | {"title": name}, *others]


@register.simple_tag
def banner() -> str:
    """What every page says above all else: that the database is a copy and silent; empty where it is production."""
    return "" if installation.is_production() else installation.COPY


@register.simple_tag(takes_context=True)
def search_box(context: RequestContext) -> dict[str, str] | None:
    """The setting SEARCH_BOX (`url`, `permission`, `label`, `offer`), for those who hold its permission."""
    box: dict[str, str] = settings.SEARCH_BOX
    return box if context["user"].has_perm(box["permission"]) else None
