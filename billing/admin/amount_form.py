"""A form that asks for an amount of money."""

from decimal import Decimal
from typing import Any

from django import forms
from django.db.models import QuerySet
from unfold.widgets import UnfoldAdminDecimalFieldWidget

from glyphforge.admin.operations import ReasonForm
from glyphforge.money import decimals, smallest_units


class AmountForm(ReasonForm):
    """An amount in `currency`, not in cents; refuses decimals that the currency has not."""

    amount = forms.DecimalField(min_value=Decimal("0.001"), max_digits=15, widget=UnfoldAdminDecimalFieldWidget)
    field_order = ["amount", "reason"]

    def __init__(self, *args: Any, rows: QuerySet[Any], currency: str, **kwargs: Any) -> None:
        super().__init__(*args, rows=rows, **kwargs)
        self.currency = currency
        self.fields["amount"].label = f"Amount in {currency.upper()}"

    def clean_amount(self) -> Decimal | None:
        amount: Decimal | None = self.cleaned_data["amount"]
        places = decimals(self.currency)
        if amount is not None and amount != round(amount, places):
            raise forms.ValidationError(f"{self.currency.upper()} has {places} decimals.")
        return amount

    @property
    def cents(self) -> int | None:
        """The amount in the currency's smallest unit; None where none was given."""
        amount = self.cleaned_data["amount"]
        return None if amount is None else smallest_units(amount, self.currency)
