"""`users`: the API's customers, written from Stripe, from Cognito and by support."""

import re

from django.db import models

from glyphforge.choices import Tone, ToneChoices
from glyphforge.rows import created_at, updated_at, uuid_key

# Cognito's own limit of an attribute: https://docs.aws.amazon.com/cognito/latest/developerguide/limits.html
LONGEST_NAME = 2048
_EMAIL = re.compile(r"[^@\s]+@[^@\s]+")


def is_email(text: str) -> bool:
    """Whether the text can be a customer's address, as the table's constraints say: at most 512 octets around an @."""
    return bool(_EMAIL.fullmatch(text)) and len(text.encode()) <= 512


class User(models.Model):
    """A customer of the API: signs in through Cognito, pays through Stripe. Staff are Django's own users."""

    class Status(ToneChoices):
        ACTIVE = "active", Tone.SUCCESS, "Active"
        SUSPENDED = "suspended", Tone.WARNING, "Suspended"
        DELETED = "deleted", Tone.NEUTRAL, "Deleted"

    id = uuid_key()
    cognito_user_id = models.TextField("Cognito user", unique=True, null=True, blank=True)
    stripe_customer_id = models.TextField(
        "Stripe customer", unique=True, null=True, blank=True, help_text="The primary one of those in stripe_customers."
    )
    email = models.TextField("e-mail", null=True, blank=True, help_text="Unique whatever its case.")
    name = models.TextField(db_default="", blank=True)
    status = models.TextField(choices=Status.choices, db_default=Status.ACTIVE)
    suspended_at = models.DateTimeField(null=True, editable=False, help_text="Outlasts a deletion.")
    legal_hold = models.TextField(null=True, editable=False, help_text="Why the customer must not be erased.")
    erased_at = models.DateTimeField(null=True, editable=False, help_text="When all that was said of them was erased.")
    created_at = created_at()
    updated_at = updated_at()

    class Meta:
        db_table = "users"
        verbose_name = "customer"
        permissions = [
            ("export_lists", "Can export customers, subscriptions, payments and invoices"),
            ("erase_user", "Can ask to erase a customer"),
            ("export_user", "Can export everything about a customer"),
            ("hold_user", "Can keep a customer from being erased, and lift that"),
            ("credit_user", "Can credit a customer an amount at Stripe"),
            ("fix_orphans", "Can give customers without a subscription the free plan"),
            ("link_customer", "Can link a Stripe customer to a customer"),
            ("suspend_user", "Can suspend and reactivate a customer"),
            ("sync_customer", "Can sync a customer from Stripe"),
        ]

    def __str__(self) -> str:
        return self.email or self.name or self.stripe_customer_id or str(self.pk)
