"""Stripe: whether it takes the key, in which mode, and whether its events come here."""

from collections.abc import Iterator
from fnmatch import fnmatch
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from django.urls import reverse

from billing.stripe import gateway
from billing.stripe.errors import PermanentError, TransientError
from monitoring.doctor.finding import Finding, critical, ok, warning

# One of each family that our tables are made from, as docs/connect-stripe.md names them.
NEEDED = (
    "charge.refunded", "customer.created", "customer.subscription.updated", "invoice.paid", "price.updated",
    "refund.created",
)  # fmt: skip


def key() -> Iterator[Finding]:
    """Ask Stripe with the configured key who it is, and in which mode."""
    mode = "live" if settings.STRIPE_LIVE_MODE else "test"
    variable = f"STRIPE_{mode.upper()}_SECRET_KEY"
    try:
        account = gateway.account_id()
        live, _ = gateway.mode_and_time()
    except (TransientError, PermanentError) as error:
        where = getattr(settings, "STRIPE_API_HOST", "https://api.stripe.com")
        keys = f"set {variable} to a key of the account, from Stripe's dashboard under API keys"
        yield critical(str(error), f"{keys}; this machine must reach {where}")
        return
    if live != settings.STRIPE_LIVE_MODE:
        other = str(live).lower()
        yield critical(
            f"STRIPE_LIVE_MODE is {mode}, and Stripe answers in {'live' if live else 'test'} mode",
            f"set STRIPE_LIVE_MODE={other}, or the key of the other mode",
        )
    else:
        yield ok(f"account {account}, {mode} mode")


def webhook() -> Iterator[Finding]:
    """Whether the secret is there, and an endpoint of the account that sends what is needed to this installation."""
    address = f"{settings.BACKOFFICE_URL}{reverse('stripe-webhook').rstrip('/')}/"
    if not settings.STRIPE_WEBHOOK_SECRETS:
        fix = f"add the endpoint {address} in Stripe's dashboard and set STRIPE_WEBHOOK_SECRET to its signing secret"
        yield critical("STRIPE_WEBHOOK_SECRET is not set, so every event is refused", fix)
        return
    try:
        endpoints = gateway.webhook_endpoints()
    except (TransientError, PermanentError) as error:
        yield warning(
            f"whether Stripe sends events here cannot be asked: {error}",
            f"give the key the right to read webhook endpoints, or see in the dashboard that {address} is one",
        )
        return
    ours = [each for each in endpoints if _leads_to(each["url"], address)]
    if not ours:
        fix = f"add the endpoint {address} in Stripe's dashboard, for all events"
        yield critical("Stripe sends its events to no endpoint of this installation", fix)
    for endpoint in ours:
        yield _judged(endpoint)


def _leads_to(url: str, address: str) -> bool:
    """Whether the endpoint's address is ours; its scheme may be a proxy's."""
    theirs, mine = urlsplit(url), urlsplit(address)
    return (theirs.hostname, theirs.path.rstrip("/")) == (mine.hostname, mine.path.rstrip("/"))


def _judged(endpoint: Any) -> Finding:
    url = endpoint["url"]
    if endpoint["status"] != "enabled":
        return critical(f"the endpoint {url} is switched off", "enable it in Stripe's dashboard under Webhooks")
    if bool(endpoint["livemode"]) != settings.STRIPE_LIVE_MODE:
        mode = "live" if settings.STRIPE_LIVE_MODE else "test"
        return critical(f"the endpoint {url} is not one of {mode} mode", f"add it in {mode} mode too")
    chosen = endpoint["enabled_events"]
    missing = [event for event in NEEDED if not any(fnmatch(event, pattern) for pattern in chosen)]
    if missing:
        return warning(f"the endpoint {url} is not sent {', '.join(missing)}", "have it listen to all events")
    return ok(f"events come to {url}")
