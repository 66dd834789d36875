"""The customers at Stripe that belong to customers here, and what support may say about one."""

from typing import Any

from django.contrib import admin
from django.db.models import QuerySet

from billing.admin.customer_link import SearchByCustomerMixin, customer_column
from billing.admin.stripe_links import stripe_id_column
from billing.models import StripeCustomer
from billing.services import customers
from glyphforge.admin.columns import moment_column, yes_no_column
from glyphforge.admin.model_admin import ReadOnlyModelAdmin
from glyphforge.admin.operations import Operation, OperationsMixin, ReasonForm

Ownership = StripeCustomer.Ownership


class MakePrimary(Operation):
    """Another of the user's customers gives them name and address."""

    name = "make_primary"
    label = "Make primary"
    permission = "billing.link_customer"
    icon = "star"
    when = {"is_primary": False, "deleted_at": None}

    def effect(self, count: int) -> str:
        return (
            "Name and address are this one's from then on. Subscriptions and payments of all their Stripe customers"
            " stay the customer's."
        )

    def carry_out(self, rows: QuerySet[Any], *, actor: str, reason: str, form: ReasonForm) -> str:
        stripe_id = rows.get().pk
        user = customers.make_primary(stripe_id, actor=actor, reason=reason)
        return f"{stripe_id} is the primary Stripe customer of {user}."


class Unlink(Operation):
    """A customer at Stripe is not this one's after all."""

    name = "unlink"
    label = "Unlink"
    permission = "billing.link_customer"
    icon = "link_off"
    danger = True
    when = {"ownership": (Ownership.KNOWN, Ownership.PRESUMED), "deleted_at": None}

    def effect(self, count: int) -> str:
        return (
            "Its subscriptions and payments leave the customer, whose plan and figures follow, and wait with it under"
            " Unmatched customers for their owner: nothing is deleted. Stripe is told that it is nobody's."
        )

    def carry_out(self, rows: QuerySet[Any], *, actor: str, reason: str, form: ReasonForm) -> str:
        link = rows.select_related("user").get()
        customers.unlink_customer(link.pk, actor=actor, reason=reason)
        return f"{link.pk} left {link.user} and waits under Unmatched customers."


@admin.register(StripeCustomer)
class StripeCustomerAdmin(OperationsMixin, SearchByCustomerMixin, ReadOnlyModelAdmin):
    """Customers at Stripe and whose they are."""

    operations = (MakePrimary(), Unlink())
    customer = customer_column()
    stripe = stripe_id_column("stripe_customer_id", description="Stripe customer")
    primary = yes_no_column("is_primary", description="primary")
    linked = moment_column("linked_at", description="linked")
    made = moment_column("created_at", description="created at Stripe")
    deleted = moment_column("deleted_at", description="deleted at Stripe")

    list_display = ("stripe_customer_id", "customer", "primary", "linked_by", "linked", "deleted")
    list_select_related = ("user",)
    sortable_by = ()
    ordering = ("stripe_customer_id",)
    own_ids = ("stripe_customer_id",)
    search_help_text = "Customer's e-mail, or a Stripe customer"
    fieldsets = (
        (None, {"fields": ("stripe", "customer", "primary", "ownership", "linked_by")}),
        ("Times", {"fields": ("linked", "made", "deleted")}),
    )
    readonly_fields = ("stripe", "customer", "primary", "linked", "made", "deleted")
