"""Everything that staff ask Stripe to change, each with how it is asked for and how Stripe shows that it was made."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from billing.models import OpenInvoice, StripeRequest
from billing.services import credits, invoices, payments, plan_changes, subscriptions
from billing.services.plan_changes import Terms
from glyphforge.rows import Json
from tests.support.event_stream import EventStream, price

LATER = datetime.now(UTC).replace(microsecond=0) + timedelta(days=30)


@dataclass(frozen=True)
class Ask:
    """An act of ours, what the subscription is like before it, and how Stripe shows that it was made."""

    kind: str
    ask: Callable[..., StripeRequest]
    made: Callable[[EventStream], bool]
    before: Callable[[EventStream], Any] = lambda stream: None
    method: str = "POST"

    def __str__(self) -> str:
        return self.kind

    def changes(self, method: str, path: str) -> bool:
        """Whether a request to Stripe is the one that changes something."""
        return method == self.method and not path.endswith("/create_preview")


def on_subscription(act: Callable[..., StripeRequest], **terms: Any) -> Callable[..., StripeRequest]:
    return lambda stream, **who: act(stream.row, **terms, **who)


def renewed(stream: EventStream) -> None:
    """The recorded subscription in a period that began ten days ago."""
    now = int(time.time())
    stream.item.update(current_period_start=now - 10 * 86_400, current_period_end=now + 20 * 86_400)
    stream.subscription["billing_cycle_anchor"] = stream.item["current_period_start"]
    stream.update()


def change_plan(stream: EventStream, when: str = plan_changes.NOW, **who: Any) -> StripeRequest:
    """The subscription is to be Professional by the month, as a preview of it says."""
    terms = Terms(price(stream.world, "professional_monthly")["id"], 1, when)
    return plan_changes.change_plan(stream.row, plan_changes.preview(stream.row, terms).change, **who)


def scheduled(stream: EventStream) -> None:
    """A schedule manages the subscription."""
    stream.world.schedule({"from_subscription": stream.subscription["id"]})
    stream.update()


def coupon(coupon_id: str, **terms: Any) -> Json:
    """A coupon for every invoice, with what it takes off."""
    return {
        "id": coupon_id,
        "object": "coupon",
        "created": 1,
        "duration": "forever",
        "valid": True,
        "name": None,
    } | terms


def discount(coupon_id: str, **terms: Any) -> Json:
    """The discount of such a coupon."""
    source = {"type": "coupon", "coupon": coupon(coupon_id, **terms)}
    return {"id": "di_Half", "object": "discount", "start": 1, "end": None, "source": source}


def unpaid(stream: EventStream) -> None:
    """The recorded invoice is not paid."""
    stream.invoice.update(status="open", amount_paid=0, amount_remaining=2900, attempt_count=1)
    stream.announce("invoice.payment_failed", stream.invoice)


ASKS = [
    Ask(
        "refund",
        lambda stream, **who: payments.refund(stream.payment, amount_cents=1000, **who),
        lambda stream: stream.charge["amount_refunded"] == 1000,
    ),
    Ask(
        "cancel_at_period_end",
        on_subscription(subscriptions.cancel_subscription),
        lambda stream: stream.subscription["cancel_at_period_end"],
    ),
    Ask(
        "cancel_now",
        on_subscription(subscriptions.cancel_subscription, at_period_end=False),
        lambda stream: stream.subscription["status"] == "canceled",
        method="DELETE",
    ),
    Ask(
        "resume",
        on_subscription(subscriptions.resume_subscription),
        lambda stream: not stream.subscription["cancel_at_period_end"],
        before=lambda stream: stream.update(cancel_at_period_end=True),
    ),
    Ask(
        "pause_collection",
        on_subscription(subscriptions.pause_collection, behavior="void"),
        lambda stream: bool(stream.subscription.get("pause_collection")),
    ),
    Ask(
        "resume_collection",
        on_subscription(subscriptions.resume_collection),
        lambda stream: not stream.subscription["pause_collection"],
        before=lambda stream: stream.update(pause_collection={"behavior": "void", "resumes_at": None}),
    ),
    Ask(
        "change_plan", change_plan, lambda stream: stream.item["price"]["lookup_key"] == "professional_monthly", renewed
    ),
    Ask(
        "release_schedule",
        on_subscription(subscriptions.release_schedule),
        lambda stream: not stream.subscription["schedule"],
        before=scheduled,
    ),
    Ask(
        "apply_coupon",
        on_subscription(subscriptions.apply_coupon, coupon="HALF"),
        lambda stream: len(stream.subscription["discounts"]) == 1,
        before=lambda stream: [renewed(stream), stream.world.put(coupon("HALF", percent_off=50))],
    ),
    Ask(
        "credit",
        lambda stream, **who: credits.credit(stream.user, 1000, "usd", **who),
        lambda stream: stream.customer["balance"] == -1000,
    ),
    Ask(
        "void_invoice",
        lambda stream, **who: invoices.settle(OpenInvoice.objects.get(), StripeRequest.Kind.VOID_INVOICE, **who),
        lambda stream: stream.invoice["status"] == "void",
        before=unpaid,
    ),
]
# Made as one of those is.
ALIKE = [
    Ask(
        "extend_trial",
        on_subscription(subscriptions.extend_trial, until=LATER),
        lambda stream: stream.subscription["trial_end"] == int(LATER.timestamp()),
        before=lambda stream: stream.update(status="trialing", trial_end=int(LATER.timestamp()) - 86_400),
    ),
    Ask(
        "remove_coupon",
        on_subscription(subscriptions.remove_coupon, discount="di_Half"),
        lambda stream: not stream.subscription["discounts"],
        before=lambda stream: [renewed(stream), stream.update(discounts=[discount("HALF", percent_off=50)])],
    ),
    *(
        Ask(
            kind,
            lambda stream, kind=kind, **who: invoices.settle(OpenInvoice.objects.get(), kind, **who),
            lambda stream, status=status: stream.invoice["status"] == status,
            before=unpaid,
        )
        for kind, status in (("mark_paid", "paid"), ("mark_uncollectible", "uncollectible"), ("pay_invoice", "paid"))
    ),
]
