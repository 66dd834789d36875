"""What a subscription is charged next, as Stripe reckons it: asked for, and kept for when Stripe is away."""

from dataclasses import asdict
from datetime import timedelta

from django.db.models.functions import Now

from billing.models import Subscription, UpcomingInvoice, User
from billing.services.plan_changes import bill_of
from billing.stripe import gateway
from billing.stripe.errors import PermanentError, TransientError
from glyphforge.database.clock import database_time
from glyphforge.rows import Json
from glyphforge.text import cut

APART = timedelta(minutes=1)
MOST_LINES = 50
LONGEST_LINE = 200  # characters


def ask_for(user: User) -> UpcomingInvoice | None:
    """What the customer's live subscription is charged next; Stripe is asked once a minute at most.

    None of a customer who has none at Stripe.
    """
    live = user.subscriptions.filter(status__in=Subscription.LIVE, is_duplicate=False)
    live = live.filter(stripe_subscription_id__isnull=False).select_related("upcoming_invoice")
    subscription = live.first()
    if subscription is None:
        return None
    known: UpcomingInvoice | None = getattr(subscription, "upcoming_invoice", None)
    if known and database_time() - known.asked_at < APART:
        return known
    return ask(subscription)


def ask(subscription: Subscription) -> UpcomingInvoice:
    """Ask Stripe for the next invoice of a subscription and keep what it says; returns what is known afterwards.

    Where Stripe does not answer, what it said before stays, with the reason beside it; where it says that none comes,
    nothing stays but the reason. Nothing is changed at Stripe.
    """
    told: Json
    try:
        invoice = gateway.preview(subscription=subscription.stripe_subscription_id)
        told = {"content": _content(invoice), "told_at": Now(), "problem": ""}
    except TransientError as error:
        told = {"problem": cut(str(error), 2000)}
    except PermanentError as error:
        told = {"content": None, "told_at": None, "problem": cut(str(error), 2000)}
    UpcomingInvoice.objects.update_or_create(subscription=subscription, defaults=told | {"asked_at": Now()})
    return UpcomingInvoice.objects.get(subscription=subscription)


def _content(invoice: Json) -> Json:
    """`currency`, `charged_at` (Unix seconds, may be null) and the members of `plan_changes.Bill`; amounts in cents."""
    bill = asdict(bill_of(invoice))
    lines = [[cut(text, LONGEST_LINE), cents] for text, cents in bill["lines"][:MOST_LINES]]
    return {
        "currency": invoice["currency"],
        "charged_at": invoice.get("next_payment_attempt"),
        **bill,
        "lines": lines,
        "more_lines": max(len(bill["lines"]) - MOST_LINES, 0),
    }
