"""What staff ask Stripe to do with an invoice that is not paid: charge it, void it, give it up, take it as paid."""

from billing.models import OpenInvoice, StripeRequest
from billing.stripe.requests import outbox
from billing.stripe.requests.outbox import Intent
from glyphforge.errors import Refused

Kind = StripeRequest.Kind
Status = OpenInvoice.Status
# From which statuses each may happen: https://docs.stripe.com/invoicing/overview#invoice-statuses
SETTLED_FROM = {
    Kind.VOID_INVOICE: frozenset({Status.OPEN, Status.UNCOLLECTIBLE}),
    Kind.MARK_PAID: frozenset({Status.OPEN, Status.UNCOLLECTIBLE}),
    Kind.MARK_UNCOLLECTIBLE: frozenset({Status.OPEN}),
    Kind.PAY_INVOICE: frozenset({Status.OPEN, Status.UNCOLLECTIBLE}),
}


def settle(
    invoice: OpenInvoice, kind: StripeRequest.Kind, *, actor: str, reason: str, token: str = ""
) -> StripeRequest:
    """Ask Stripe to void the invoice, to mark it as uncollectible or as paid outside of Stripe, or to charge it now.

    Our row changes when Stripe's event comes back. Refuses an invoice whose status does not allow it, and what
    `billing.stripe.requests.outbox.ask` refuses, which also says what `token` is and when `Notice` is raised.
    """

    def intend() -> Intent:
        known = OpenInvoice.objects.select_related("user").get(pk=invoice.pk)
        if known.status not in SETTLED_FROM[kind]:
            raise Refused(f"An invoice that is {known.get_status_display().lower()} cannot be settled so.")
        wanted = {"number": known.number, "amount_cents": known.amount_due_cents, "currency": known.currency}
        return Intent(kind, known.stripe_invoice_id, known.subscription_id, known.user, wanted)

    return outbox.ask(intend, actor=actor, reason=reason, token=token)
