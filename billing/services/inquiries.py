"""Inquiries about a payment: a bank asks before it takes money. To refund the payment closes them without a fee."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from billing.models import Payment
from billing.stripe import mirror
from billing.stripe.projection.movements import INQUIRIES
from billing.stripe.projection.rows import moment


@dataclass(frozen=True)
class Inquiry:
    """One that is open. `amount_cents` is in the payment's currency; it has to be answered until `due_at`."""

    stripe_dispute_id: str
    amount_cents: int
    due_at: datetime | None
    is_refundable: bool


def open_inquiries(payment: Payment) -> list[Inquiry]:
    """The inquiries about a payment that are open, as they were mirrored; the most urgent first.

    https://docs.stripe.com/disputes/how-disputes-work#inquiries
    """
    if not payment.stripe_charge_id:
        return []
    found = [
        Inquiry(
            dispute["id"],
            int(dispute["amount"]),
            moment((dispute.get("evidence_details") or {}).get("due_by")),
            dispute.get("is_charge_refundable", True),
        )
        for dispute in mirror.charge_disputes(payment.stripe_charge_id)
        if dispute["status"] in INQUIRIES
    ]
    return sorted(
        found, key=lambda inquiry: (inquiry.due_at or datetime.max.replace(tzinfo=UTC), inquiry.stripe_dispute_id)
    )
