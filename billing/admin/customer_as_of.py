"""The customer's page as of a moment, and what has changed since."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from django.contrib import admin
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.utils import timezone
from django.utils.dateparse import parse_date, parse_datetime

from billing.admin.customer_link import as_of_url, customer_url
from billing.admin.customer_standing import outlook
from billing.models import ApiKey, Subscription, User
from billing.services.as_of import AsOf, customer_as_of
from billing.services.entitlement import in_database
from glyphforge.admin.columns import EMPTY, moment
from glyphforge.errors import Refused
from glyphforge.money import money

# As much of what somebody wrote as an error repeats.
REPEATED = 60


@dataclass(frozen=True)
class Fact:
    """One line: what it is, how it was and, where that is compared, how it is now."""

    name: str
    then: Any
    now: Any = None

    @property
    def is_changed(self) -> bool:
        return bool(self.then != self.now)


def moment_of(text: str) -> datetime:
    """A moment as the address or the form has it, of the reader's zone where it names none; a day is its beginning.

    Refuses what is none.
    """
    # A plus that was not escaped arrives as a space.
    written = text.strip().replace(" ", "+") if "T" in text else text.strip()
    try:
        found = parse_datetime(written)
        day = None if found else parse_date(written)
        if day:
            found = datetime(day.year, day.month, day.day)  # noqa: DTZ001 - its zone follows
        if found:
            found = found if timezone.is_aware(found) else timezone.make_aware(found)
            return found.astimezone(UTC)
    except (ValueError, OverflowError):
        pass  # 30 February is none either
    shown = text[:REPEATED] + ("…" if len(text) > REPEATED else "")
    raise Refused(f"“{shown}” is no moment: write it as 2026-01-31T12:00 or 2026-01-31T12:00:00Z.")


def page(request: HttpRequest, user: User) -> HttpResponse:
    """The page for `?at=`, with `&compare=now` in two columns; what is no moment is answered by 400 and the form."""
    compared = request.GET.get("compare") == "now"
    context: dict[str, Any] = {
        **admin.site.each_context(request),
        "title": "Customer",
        "customer": user,
        "url": customer_url(user.pk),
        "compared": compared,
    }
    try:
        at = moment_of(request.GET["at"])
        then = customer_as_of(user.pk, at)
    except Refused as refusal:
        context |= {"error": str(refusal), "written": request.GET["at"][:REPEATED]}
        return TemplateResponse(request, "billing/customer/as_of.html", context, status=400)
    now = customer_as_of(user.pk) if compared else None
    context |= {
        "then": then,
        "at": moment(at),
        "written": f"{timezone.localtime(at):%Y-%m-%dT%H:%M:%S}",
        "is_unknown": then.known_from is not None and at < then.known_from,
        "known_from": moment(then.known_from),
        "compare_url": f"{as_of_url(user.pk, at)}&compare=now",
        "alone_url": as_of_url(user.pk, at),
        "facts": list(_facts(then, now)),
    }
    return TemplateResponse(request, "billing/customer/as_of.html", context)


def _facts(then: AsOf, now: AsOf | None) -> Iterator[Fact]:
    entitled = in_database()
    before, after = _lines(then, entitled), _lines(now, entitled) if now else {}
    for name in dict.fromkeys([*before, *after]):
        yield Fact(name, before.get(name, EMPTY), after.get(name, EMPTY))


def _lines(said: AsOf, entitled: list[str]) -> dict[str, str]:
    """What is shown of a customer, by name, in order."""
    lines = _account(said.user) if said.user else {}
    lines |= _plan(said.subscription, entitled) if said.subscription else {"Plan": "no live subscription"}
    requests = "not known any more: the rows are no longer kept" if said.requests is None else f"{said.requests:,}"
    lines["Requests of the month up to then"] = requests
    paid = " + ".join(money(cents, currency) for currency, cents in sorted(said.paid.items()))
    lines["Paid until then"] = paid or "nothing"
    return lines | {f"Key {key.key_prefix}…": _key(key, said.at) for key in said.keys}


def _account(user: User) -> dict[str, str]:
    return {
        "Account": str(User.Status(user.status).label),
        "Name": user.name or EMPTY,
        "E-mail": user.email or EMPTY,
        "Stripe customer": user.stripe_customer_id or EMPTY,
        "Cognito": user.cognito_user_id or EMPTY,
    }


def _plan(live: Subscription, entitled: list[str]) -> dict[str, str]:
    limit = "unlimited" if live.monthly_request_limit is None else f"{live.monthly_request_limit:,}"
    ends = live.current_period_end
    period = f"{live.current_period_start or ends:%Y-%m-%d} to {ends:%Y-%m-%d}" if ends else EMPTY
    return {
        "Plan": str(live.get_tier_display()),
        "State": str(live.get_status_display()),
        "Requests a month": limit if live.status in entitled else f"the free plan's ({limit} when it is paid)",
        "Price a month": money(live.price_cents, live.currency),
        "Billed": f"{live.get_interval_display()}, quantity {live.quantity:,}",
        "Period": period,
        "Outlook": outlook(live),
        "Stripe subscription": live.stripe_subscription_id or EMPTY,
    }


def _key(key: ApiKey, at: datetime) -> str:
    if key.revoked_at:
        state = f"revoked: {key.revoked_reason}" if key.revoked_reason else "revoked"
    elif key.expires_at and key.expires_at <= at:
        state = "expired"
    else:
        state = "usable" + (f" until {key.expires_at:%Y-%m-%d %H:%M} UTC" if key.expires_at else "")
    return ", ".join(filter(None, (key.name, key.get_environment_display(), state)))
