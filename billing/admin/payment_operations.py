"""What staff may ask Stripe to do with a payment."""

from decimal import Decimal
from typing import Any

from django import forms
from django.db.models import F, QuerySet

from billing.admin.amount_form import AmountForm
from billing.admin.stripe_operation import StripeOperation, told
from billing.models import Payment
from billing.services import payments
from glyphforge.admin.operations import GIVEN
from glyphforge.money import money, smallest_units


class RefundForm(AmountForm):
    """An amount in the payment's currency; refuses more than is left."""

    def __init__(self, *args: Any, rows: QuerySet[Any], **kwargs: Any) -> None:
        payment = rows.first()
        super().__init__(*args, rows=rows, currency=payment.currency if payment else "usd", **kwargs)
        self.left: int = payment.left_cents if payment else 0
        self.fields["amount"].required = False
        self.fields["amount"].help_text = "Empty refunds all that is left."

    def clean_amount(self) -> Decimal | None:
        amount = super().clean_amount()
        if amount is not None and smallest_units(amount, self.currency) > self.left:
            raise forms.ValidationError(f"Only {money(self.left, self.currency)} is left to refund.")
        return amount


class RefundPayment(StripeOperation):
    """Stripe is asked to give money back."""

    name = "refund"
    label = "Refund"
    permission = "billing.refund_payment"
    icon = "currency_exchange"
    danger = True
    form_class = RefundForm
    when = {"status": payments.REFUNDABLE, "stripe_charge_id": GIVEN}

    def applicable(self, rows: QuerySet[Any]) -> QuerySet[Any]:
        return super().applicable(rows).filter(amount_cents__gt=F("refunded_cents") + F("disputed_cents"))

    def offered(self, row: Payment) -> bool:
        return super().offered(row) and row.left_cents > 0

    def describe(self, row: Payment) -> str:
        left = money(row.left_cents, row.currency)
        paid = money(row.amount_cents, row.currency)
        return f"{row.stripe_charge_id} of {row.user}: {paid} paid, {left} left to refund"

    def effect(self, count: int) -> str:
        return "Stripe sends the money back to where it came from. The row here changes when Stripe's event comes back."

    def carry_out(self, rows: QuerySet[Any], *, actor: str, reason: str, form: Any) -> str:
        payment = rows.get()
        request = payments.refund(payment, actor=actor, reason=reason, amount_cents=form.cents, token=form.token)
        given = money(request.parameters["amount_cents"], payment.currency)
        return told(f"Stripe refunds {given} of {payment.stripe_charge_id} ({request.answer_id}).", request)
