"""Paging by where the last page ended, for lists too long to count or to skip through."""

from datetime import datetime
from typing import Any

from django.core.exceptions import ValidationError
from django.core.paginator import Paginator
from django.db.models import QuerySet
from django.http import HttpRequest
from unfold.views import ChangeList

from glyphforge.admin.model_admin import ReadOnlyModelAdmin
from glyphforge.admin.narrowing import Narrowing

AFTER, BEFORE = "after", "before"
_SEPARATOR = "~"


class _Pages(Paginator):
    """Tells Unfold which links to draw; nothing is counted."""

    template_name = "glyphforge/keyset_pages.html"


class KeysetChangeList(Narrowing, ChangeList):
    """A list, newest first, whose links say after or before which row the page starts.

    Page 1,000 costs what page 1 costs, and rows that arrive meanwhile shift nothing.
    """

    after_url: str | None = None
    before_url: str | None = None

    def get_filters_params(self, params: Any = None) -> dict[str, Any]:
        # A cursor is no filter, and a page reached by another filter starts at the top.
        for name in (AFTER, BEFORE):
            self.filter_params.pop(name, None)
            self.params.pop(name, None)
        return super().get_filters_params(params)

    def get_results(self, request: HttpRequest) -> None:
        keys = self.model_admin.keyset
        size = self.list_per_page
        after = _parsed(request.GET.get(AFTER), self.opts, keys)
        before = _parsed(request.GET.get(BEFORE), self.opts, keys)
        if before:
            found = list(_beyond(self.queryset, keys, before, newer=True).order_by(*keys)[: size + 1])
            rows = found[:size][::-1]
            older, newer = bool(rows), len(found) > size
        else:
            rows_query = _beyond(self.queryset, keys, after, newer=False) if after else self.queryset
            found = list(rows_query.order_by(*(f"-{key}" for key in keys))[: size + 1])
            rows = found[:size]
            older, newer = len(found) > size, bool(after)
        if rows and older:
            self.after_url = self.get_query_string({AFTER: _cursor(rows[-1], keys)})
        if rows and newer:
            self.before_url = self.get_query_string({BEFORE: _cursor(rows[0], keys)})
        self.result_list = rows
        self.result_count = len(rows)
        self.full_result_count = self.result_count  # no "show all"
        self.show_full_result_count = False
        self.show_admin_actions = bool(rows)
        self.can_show_all = self.multi_page = False
        self.paginator = _Pages(rows, size)


class KeysetModelAdmin(ReadOnlyModelAdmin):
    """A read-only list that is paged by key.

    `keyset` names the one or two fields that it is sorted by, descending; the last one is unique.
    """

    keyset: tuple[str, ...] = ("id",)
    sortable_by = ()

    def get_ordering(self, request: HttpRequest) -> list[str]:
        return [f"-{key}" for key in self.keyset]

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[KeysetChangeList]:
        return KeysetChangeList


def _beyond(queryset: QuerySet[Any], keys: tuple[str, ...], cursor: list[Any], *, newer: bool) -> QuerySet[Any]:
    """The rows strictly beyond the cursor, as a range on the first key that an index can start from."""
    first, rest = keys[0], keys[1:]
    if not rest:
        return queryset.filter(**{f"{first}__{'gt' if newer else 'lt'}": cursor[0]})
    (second,) = rest
    reached = {first: cursor[0], f"{second}__{'lte' if newer else 'gte'}": cursor[1]}
    return queryset.filter(**{f"{first}__{'gte' if newer else 'lte'}": cursor[0]}).exclude(**reached)


def _cursor(row: Any, keys: tuple[str, ...]) -> str:
    values = (getattr(row, key) for key in keys)
    return _SEPARATOR.join(value.isoformat() if isinstance(value, datetime) else str(value) for value in values)


def _parsed(text: str | None, opts: Any, keys: tuple[str, ...]) -> list[Any] | None:
    """A cursor's values; None for none and for one that no page of ours made."""
    parts = (text or "").split(_SEPARATOR)
    if len(parts) != len(keys):
        return None
    try:
        return [_value(part, opts.get_field(key)) for part, key in zip(parts, keys, strict=True)]
    except (ValidationError, ValueError):
        return None


def _value(part: str, field: Any) -> Any:
    value = field.to_python(part)
    if value is None or (isinstance(value, datetime) and value.tzinfo is None):
        raise ValueError(part)
    return value
