"""Links to Stripe's own dashboard, in the mode that the object lives in."""

from collections.abc import Callable
from typing import Any

from django.conf import settings
from django.contrib import admin
from django.db.models import Model
from django.utils.html import format_html

from glyphforge.admin.columns import EMPTY, copyable

DASHBOARD = "https://dashboard.stripe.com"
PAGES = {
    "cus": "customers",
    "sub": "subscriptions",
    "in": "invoices",
    "pi": "payments",
    "ch": "payments",
    "py": "payments",
    "du": "disputes",
    "evt": "events",
    "price": "prices",
    "prod": "products",
}


def dashboard_url(stripe_id: str | None, *, livemode: bool | None = None) -> str | None:
    """Where Stripe shows the object; None for an id of no kind that it has a page for.

    Without `livemode` the mode is the one that this back office runs in.
    """
    page = PAGES.get((stripe_id or "").partition("_")[0])
    if page is None:
        return None
    live = settings.STRIPE_LIVE_MODE if livemode is None else livemode
    return f"{DASHBOARD}/{'' if live else 'test/'}{page}/{stripe_id}"


def stripe_id(value: str | None, *, livemode: bool | None = None) -> str:
    """An id of Stripe's, copyable, with a link to its page there."""
    url = dashboard_url(value, livemode=livemode)
    if url is None:
        return copyable(value)
    live = settings.STRIPE_LIVE_MODE if livemode is None else livemode
    return format_html(
        '{} <a class="gf-stripe gf-external" href="{}" target="_blank" rel="noopener noreferrer">Stripe{}</a>',
        copyable(value),
        url,
        "" if live else " (test)",
    )


def stripe_id_column(path: str, *, description: str) -> Callable[[Any, Model], str]:
    """A field that shows an id of Stripe's with its link."""

    @admin.display(description=description)
    def show(self: Any, obj: Model) -> str:
        value = getattr(obj, path)
        return stripe_id(value, livemode=getattr(obj, "livemode", None)) if value else EMPTY

    return show
