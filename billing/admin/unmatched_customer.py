"""The customers at Stripe that belong to nobody here: linked to a customer, or made one, on this page."""

from typing import Any

from django import forms
from django.contrib import admin
from django.db.models import QuerySet
from unfold.widgets import UnfoldAdminEmailInputWidget, UnfoldAdminTextInputWidget

from billing.admin.stripe_links import stripe_id_column
from billing.models import UnmatchedCustomer, User
from billing.services import customers
from glyphforge.admin.columns import moment_column
from glyphforge.admin.model_admin import ReadOnlyModelAdmin
from glyphforge.admin.operations import Operation, OperationsMixin, ReasonForm


class OwnerForm(ReasonForm):
    """The e-mail of the customer it belongs to; refuses one that no customer here has. `owner` is who has it."""

    email = forms.CharField(label="Customer's e-mail", widget=UnfoldAdminTextInputWidget)
    field_order = ["email", "reason"]

    def clean_email(self) -> str:
        email: str = self.cleaned_data["email"].strip()
        owner = User.objects.filter(email__iexact=email).first()
        if owner is None:
            raise forms.ValidationError("No customer has this address.")
        self.owner = owner
        return email


class LinkToCustomer(Operation):
    """A customer at Stripe is declared to be one of ours."""

    name = "link"
    label = "Link to a customer"
    permission = "billing.link_customer"
    icon = "link"
    form_class = OwnerForm

    def effect(self, count: int) -> str:
        return "Its subscriptions and payments become the customer's, and events that waited are processed again."

    def carry_out(self, rows: QuerySet[Any], *, actor: str, reason: str, form: Any) -> str:
        unmatched = rows.get()
        customers.link_customer(unmatched.pk, form.owner, actor=actor, reason=reason)
        return f"{unmatched.pk} now belongs to {form.owner}."


class NewCustomerForm(ReasonForm):
    """Another e-mail for the new customer, where somebody here has the one at Stripe."""

    email = forms.EmailField(
        label="Another e-mail",
        required=False,
        widget=UnfoldAdminEmailInputWidget,
        help_text="Where somebody else has the address already. It replaces the one at Stripe too.",
    )


class CreateCustomer(Operation):
    """A new customer is made for it."""

    name = "create_customer"
    label = "Create a customer"
    permission = "billing.link_customer"
    icon = "person_add"
    form_class = NewCustomerForm

    def effect(self, count: int) -> str:
        return "A new customer is made with the name and address that Stripe has, and linked."

    def carry_out(self, rows: QuerySet[Any], *, actor: str, reason: str, form: Any) -> str:
        email = form.cleaned_data["email"] or None
        user = customers.create_customer(rows.get().pk, actor=actor, reason=reason, email=email)
        return f"{user} is a customer now."


@admin.register(UnmatchedCustomer)
class UnmatchedCustomerAdmin(OperationsMixin, ReadOnlyModelAdmin):
    """Customers at Stripe that nobody could say whose they are."""

    operations = (LinkToCustomer(), CreateCustomer())
    stripe = stripe_id_column("stripe_customer_id", description="Stripe customer")
    first_seen = moment_column("first_seen_at", description="first seen")

    list_display = ("stripe_customer_id", "email", "name", "reason", "first_seen")
    sortable_by = ()
    nothing = "Every customer at Stripe is one of ours"
    fieldsets = ((None, {"fields": ("stripe", "email", "name", "reason", "first_seen")}),)
    readonly_fields = ("stripe", "first_seen")
