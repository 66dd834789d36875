"""A charge with all that its payment is worked out of: its refunds, its disputes and the invoice that it paid."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from billing.stripe import gateway, mirror
from billing.stripe.events.event_object import identifier
from billing.stripe.objects import Charge, Dispute, Invoice, Refund


@dataclass(frozen=True)
class ChargeHistory:
    """What Stripe says of a charge now. `refunds` and `disputes` are all that there are, in any state.

    Who has them from lists of their own makes one by hand, without any request.
    """

    charge: Charge
    refunds: list[Refund] = field(default_factory=list)
    disputes: list[Dispute] = field(default_factory=list)
    invoice: Invoice | None = None


def complete(fetched: Any, *, refunded: bool = False, disputed: bool = False) -> ChargeHistory:
    """The history of a charge that the gateway fetched; nothing is written.

    Costs a request where the charge's refunds were cut or not expanded and it has some, and one where it has disputes.
    `refunded` and `disputed` say that it has, whatever the charge says.
    """
    charge: Charge = dict(gateway.as_json(fetched))  # type: ignore[assignment]
    listed: Any = charge.pop("refunds", None)  # type: ignore[typeddict-item]
    # An empty list beside an amount is not the whole: asking for the refunds themselves tells.
    if listed and not listed.get("has_more") and (listed["data"] or not charge.get("amount_refunded")):
        refunds = list(listed["data"])
    elif listed or refunded or charge.get("amount_refunded"):
        refunds = gateway.refunds(charge["id"])
    else:
        refunds = []
    disputes = _disputes(charge["id"]) if disputed or charge.get("disputed") else []
    named = identifier(charge.get("invoice"))
    invoice: Invoice | None = mirror.invoice_of(charge) or ({"id": named} if named else None)
    return ChargeHistory(charge, refunds, disputes, invoice)


def store(history: ChargeHistory) -> None:
    """Mirror the charge and its disputes."""
    mirror.store(history.charge)
    for dispute in history.disputes:
        mirror.store(dispute)


def _disputes(charge_id: str) -> list[Dispute]:
    """Those that Stripe lists, and what was mirrored a moment ago and it does not list yet."""
    known = {dispute["id"]: dispute for dispute in mirror.charge_disputes(charge_id)}
    return list((known | {dispute["id"]: dispute for dispute in gateway.disputes(charge_id)}).values())
