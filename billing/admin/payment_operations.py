"""What staff may ask Stripe to do with a payment."""

from decimal import Decimal
from typing import Any

from django import forms
from django.db.models import QuerySet
from unfold.widgets import UnfoldAdminDecimalFieldWidget

from billing.admin.operations import Operation, ReasonForm
from billing.models import Payment
from billing.services import refunds
from glyphforge.display import ZERO_DECIMAL, money


class RefundForm(ReasonForm):
    amount = forms.DecimalField(
        required=False,
        min_value=Decimal("0.01"),
        decimal_places=2,
        widget=UnfoldAdminDecimalFieldWidget,
        help_text="In the payment's currency; empty refunds all that is left.",
    )
    field_order = ["amount", "reason"]

    def cents(self, currency: str) -> int | None:
        """The amount in the currency's smallest unit; None for all that is left."""
        amount = self.cleaned_data["amount"]
        if amount is None:
            return None
        return int(amount if currency in ZERO_DECIMAL else amount * 100)


class RefundPayment(Operation):
    """Stripe is asked to give money back."""

    name = "refund"
    label = "Refund"
    permission = "billing.refund_payment"
    icon = "currency_exchange"
    danger = True
    form_class = RefundForm

    def applicable(self, rows: QuerySet[Any]) -> QuerySet[Any]:
        return rows.filter(status__in=refunds.REFUNDABLE, stripe_charge_id__isnull=False)

    def offered(self, row: Payment) -> bool:
        return row.status in refunds.REFUNDABLE and bool(row.stripe_charge_id)

    def describe(self, row: Payment) -> str:
        left = money(row.amount_cents - row.refunded_cents, row.currency)
        return f"{row.stripe_charge_id}: {money(row.amount_cents, row.currency)} paid, {left} left to refund"

    def effect(self, count: int) -> str:
        return "Stripe sends the money back to where it came from. The row here changes when Stripe's event comes back."

    def carry_out(self, rows: QuerySet[Any], *, actor: str, reason: str, form: Any) -> str:
        payment = rows.get()
        amount = form.cents(payment.currency)
        refund_id = refunds.refund(payment, actor=actor, reason=reason, amount_cents=amount)
        given = money(payment.amount_cents - payment.refunded_cents if amount is None else amount, payment.currency)
        return f"Stripe refunds {given} of {payment.stripe_charge_id} ({refund_id})."
