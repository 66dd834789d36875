"""The view `charged_cards`."""

from datetime import date

from django.db import models

from billing.models.subscription import Subscription
from billing.models.user import User


class ChargedCard(models.Model):
    """The card that a live subscription is charged with, as far as one is known."""

    subscription = models.OneToOneField(
        Subscription, primary_key=True, on_delete=models.DO_NOTHING, db_constraint=False, related_name="charged_card"
    )
    user = models.ForeignKey(
        User, verbose_name="customer", on_delete=models.DO_NOTHING, db_constraint=False, related_name="+"
    )
    payment_method_id = models.TextField("payment method", null=True)
    brand = models.TextField(null=True)
    last4 = models.TextField(null=True)
    expires_on = models.DateField(null=True, help_text="The last day on which it can be charged.")

    class Meta:
        db_table = "charged_cards"
        managed = False
        default_permissions = ()

    def __str__(self) -> str:
        return card_text(self.brand, self.last4, self.expires_on)


def card_text(brand: str | None, last4: str | None, expires_on: date | None) -> str:
    """`Visa 4242, 12/2030`; empty where no digits are known."""
    if not last4:
        return ""
    expiry = f", {expires_on:%m/%Y}" if expires_on else ""
    return f"{(brand or 'card').replace('_', ' ').capitalize()} {last4}{expiry}"
