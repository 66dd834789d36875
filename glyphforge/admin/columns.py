"""How values look on every page: status as text and colour, ids copyable, money with currency, times with zone."""

from collections.abc import Callable
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from django.contrib import admin
from django.db.models import Model
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString

from glyphforge.choices import Tone, ToneChoices
from glyphforge.money import money

# What stands for nothing, whether an amount or anything else.
EMPTY = money(None)
A_DAY = timedelta(days=1)


def badge(text: str, tone: str = Tone.NEUTRAL) -> SafeString:
    """A status as text in a coloured pill."""
    return format_html('<span class="gf-badge gf-badge--{}">{}</span>', tone, text)


def choice_badge(choice: ToneChoices) -> SafeString:
    """A choice's label in its colour."""
    return badge(choice.label, choice.tone)


def copyable(value: Any, href: str | None = None) -> str:
    """An id as it is, with a button that copies it; a link when `href` is given."""
    if value in (None, ""):
        return EMPTY
    text = format_html('<a href="{}">{}</a>', href, value) if href else format_html("{}", value)
    return format_html(
        '<span class="gf-id"><code>{}</code><button type="button" class="gf-copy" data-copy="{}" aria-label="Copy {}">'
        '<span class="material-symbols-outlined" aria-hidden="true">content_copy</span></button></span>',
        text,
        value,
        value,
    )


def moment(value: datetime | None) -> str:
    """A time: how long ago, within a day; else with its zone. The other of the two is in the tooltip."""
    if value is None:
        return EMPTY
    local, ago = timezone.localtime(value), relative_time(value)
    if abs(timezone.now() - value) < A_DAY:
        template = '<time datetime="{}" class="gf-time gf-nowrap" title="{}">{}</time>'
        return format_html(template, value.isoformat(), f"{local:%Y-%m-%d %H:%M %Z}", ago)
    template = '<time datetime="{}" class="gf-time" title="{}">{} <span class="gf-nowrap">{}</span></time>'
    return format_html(template, value.isoformat(), ago, f"{local:%Y-%m-%d}", f"{local:%H:%M %Z}")


def relative_time(value: datetime) -> str:
    """How far from now, in one unit: `3 hours ago`, `in 12 days`."""
    seconds = (timezone.now() - value).total_seconds()
    past = seconds >= 0
    seconds = abs(seconds)
    for unit, length in (("day", 86400), ("hour", 3600), ("minute", 60)):
        if seconds >= length:
            count = int(seconds // length)
            words = f"{count:,} {unit}{'' if count == 1 else 's'}"
            return f"{words} ago" if past else f"in {words}"
    return "just now" if past else "in a moment"


def percent(value: Decimal | float | None) -> str:
    """A percentage with what decimals it needs, two at most, as `97 %` or `3.36 %`."""
    return EMPTY if value is None else f"{round(Decimal(value), 2).normalize():f} %"


def number(value: Decimal | int | None, none: str = EMPTY) -> str:
    """A count with thousands separated."""
    return none if value is None else f"{value:,}"


def figure(text: str) -> SafeString:
    """A number or an amount as lists show it: in one line, on the right of its column."""
    return format_html('<span class="gf-figure">{}</span>', text)


def preformatted(text: str) -> SafeString:
    """Text as it stands, such as JSON, in a box that scrolls and that the keyboard reaches."""
    return format_html('<pre class="gf-json" tabindex="0">{}</pre>', text)


def _value_at(obj: Any, path: str) -> Any:
    for name in path.split("__"):
        if obj is None:
            return None
        obj = getattr(obj, name)
    return obj


def column(
    path: str, render: Callable[[Any], Any], *, description: str | None = None, ordering: Any = None
) -> Callable[[Any, Model], Any]:
    """A column or field of an admin page: the value at `path` (`user__email`), rendered; a number as a figure.

    Sortable where `ordering` names what to sort by; sort only by what an index can deliver.
    """

    @admin.display(description=description or path.rsplit("__", 1)[-1].replace("_", " "), ordering=ordering)
    def show(self: Any, obj: Model) -> Any:
        value = _value_at(obj, path)
        shown = render(value)
        return figure(shown) if isinstance(value, int | Decimal) and not isinstance(value, bool) else shown

    return show


def yes_no_column(path: str, *, description: str) -> Callable[[Any, Model], str]:
    """A column of what is so or not, in words: neither is bad, as a red cross would say."""
    return column(path, lambda value: "Yes" if value else "No", description=description)


def badge_column(
    path: str, choices: type[ToneChoices], *, description: str | None = None, ordering: Any = None
) -> Callable[[Any, Model], Any]:
    """A column of a field with choices: its label in the colour that the choices give its value.

    A value that a newer release wrote stands as it is.
    """

    def shown(value: Any) -> Any:
        if value is None:
            return EMPTY
        return choice_badge(choices(value)) if value in choices.values else str(value)

    return column(
        path,
        shown,
        description=description,
        ordering=ordering,
    )


def money_column(
    cents: str,
    *,
    currency: str = "currency",
    description: str | None = None,
    ordering: Any = None,
    zero: str | None = None,
) -> Callable[[Any, Model], str]:
    """A column of an amount; `currency` is the field beside it, `zero` what stands for nothing at all."""

    @admin.display(description=description or cents.removesuffix("_cents").replace("_", " "), ordering=ordering)
    def show(self: Any, obj: Model) -> str:
        amount = _value_at(obj, cents)
        if amount == 0 and zero is not None:
            return zero
        return figure(money(amount, _value_at(obj, currency)))

    return show


def moment_column(path: str, *, description: str | None = None, ordering: Any = None) -> Callable[[Any, Model], str]:
    """A column of a time with its zone."""
    return column(
        path, moment, description=description or path.removesuffix("_at").replace("_", " "), ordering=ordering
    )


def copyable_column(path: str, *, description: str | None = None, ordering: Any = None) -> Callable[[Any, Model], str]:
    """A column of an id that can be copied."""
    return column(path, copyable, description=description, ordering=ordering)
