"""What an invoice is asked to become at Stripe, told by its status."""

from dataclasses import dataclass, field
from typing import Any

from billing.models import StripeRequest
from billing.stripe import gateway
from billing.stripe.errors import MissingError
from billing.stripe.requests.act import STALE, Act
from glyphforge.errors import Refused
from glyphforge.money import money
from glyphforge.rows import Json


@dataclass(frozen=True)
class SettleInvoice(Act):
    """An invoice gets a status by a call that stripe-python names `method`; it must have one of `allowed` before.

    `verb` stands before the invoice's id; see https://docs.stripe.com/invoicing/overview#invoice-statuses. The audit
    row is of the invoice's subscription, which stays.
    """

    verb: str
    status: str
    method: str
    allowed: tuple[str, ...]
    terms: Json = field(default_factory=dict)

    table = "subscriptions"

    def words(self, request: StripeRequest) -> str:
        """As in `voiding in_1`."""
        return f"{self.verb} {request.stripe_object_id}"

    def prepare(self, request: StripeRequest) -> Any:
        """The invoice at Stripe; refuses one whose status does not allow it, or is so already."""
        found = gateway.look_at("invoice", request.stripe_object_id)
        if found["status"] not in self.allowed:
            raise Refused(f"At Stripe the invoice is {found['status']}, not {' or '.join(self.allowed)}. {STALE}")
        return found

    def make(self, request: StripeRequest, prepared: Any) -> str:
        """Ask for it; returns the invoice's id."""
        invoice_id, key = request.stripe_object_id, request.idempotency_key
        gateway.call("invoice", self.method, invoice_id, idempotency_key=key, **self.terms)
        return invoice_id

    def look(self, request: StripeRequest) -> str | None:
        """By its status."""
        try:
            found = gateway.look_at("invoice", request.stripe_object_id)
        except MissingError:
            return None
        return request.stripe_object_id if found["status"] == self.status else None


class PayInvoice(SettleInvoice):
    """What is left of an invoice is charged now, as whoever asked saw it: https://docs.stripe.com/api/invoices/pay

    A card that is declined is an answer: the request is refused, with what the bank said.
    """

    def prepare(self, request: StripeRequest) -> Any:
        """Refuses as `SettleInvoice`, and while our row says another amount."""
        found = super().prepare(request)
        shown, left = request.parameters["amount_cents"], found["amount_remaining"]
        if left != shown:
            there, here = (money(cents, request.parameters["currency"]) for cents in (left, shown))
            raise Refused(f"At Stripe {there} of the invoice are left to pay, not {here} as here. {STALE}")
        return found


Kind = StripeRequest.Kind
UNPAID = ("open", "uncollectible")
INVOICE_ACTS: dict[str, Act] = {
    Kind.VOID_INVOICE: SettleInvoice("voiding", "void", "void_invoice", UNPAID),
    Kind.MARK_UNCOLLECTIBLE: SettleInvoice("giving up", "uncollectible", "mark_uncollectible", ("open",)),
    Kind.PAY_INVOICE: PayInvoice("charging", "paid", "pay", UNPAID),
    # Stripe charges nobody then: https://docs.stripe.com/api/invoices/pay
    Kind.MARK_PAID: SettleInvoice("marking as paid", "paid", "pay", UNPAID, {"paid_out_of_band": True}),
}
