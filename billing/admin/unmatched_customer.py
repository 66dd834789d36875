"""The customers at Stripe that belong to nobody here: linked to a customer, or made one, on this page."""

from typing import Any, ClassVar

from django import forms
from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponseBase, HttpResponseRedirect
from django.utils.html import format_html
from unfold.widgets import UnfoldAdminEmailInputWidget, UnfoldAdminTextInputWidget

from billing.admin.customer_link import customer_url
from billing.admin.stripe_links import stripe_id_column
from billing.models import UnmatchedCustomer, User
from billing.services import customers
from glyphforge.admin.columns import EMPTY, moment_column
from glyphforge.admin.model_admin import ReadOnlyModelAdmin
from glyphforge.admin.operations import Operation, OperationsMixin, ReasonForm


def candidate(unmatched: UnmatchedCustomer) -> User | None:
    """The customer of equal address, whom support may mean; never taken by itself."""
    return User.objects.filter(email__iexact=unmatched.email).first() if unmatched.email else None


class OwnerForm(ReasonForm):
    """The e-mail of the customer it belongs to; refuses one that no customer here has. `owner` is who has it.

    It is filled in where a customer has the address that the Stripe customer has.
    """

    email = forms.CharField(label="Customer's e-mail", widget=UnfoldAdminTextInputWidget)
    field_order = ["email", "reason"]

    def __init__(self, *args: Any, rows: QuerySet[Any], **kwargs: Any) -> None:
        super().__init__(*args, rows=rows, **kwargs)
        unmatched = rows.first()
        offered = candidate(unmatched) if unmatched else None
        if offered:
            self.fields["email"].initial = offered.email
            self.fields["email"].help_text = "A customer here has the same address. Be sure that it is the same person."

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
    form_class: ClassVar[type[ReasonForm]] = OwnerForm
    makes_primary = False

    def effect(self, count: int) -> str:
        return (
            "Its subscriptions and payments become the customer's, beside those of Stripe customers that they have"
            " already, and events that waited are processed again."
        )

    def carry_out(self, rows: QuerySet[Any], *, actor: str, reason: str, form: Any) -> str:
        unmatched = rows.get()
        customers.link_customer(unmatched.pk, form.owner, actor=actor, reason=reason, make_primary=self.makes_primary)
        return f"{unmatched.pk} now belongs to {form.owner}."

    def respond(self, request: HttpRequest, form: Any, back: str) -> HttpResponseBase:
        # The page of what was unmatched is gone.
        return HttpResponseRedirect(customer_url(form.owner.pk))


class LinkAndMakePrimary(LinkToCustomer):
    """Who bought again, as a new customer at Stripe, goes on with that one."""

    name = "link_primary"
    label = "Link and make primary"
    icon = "person_check"
    makes_primary = True

    def effect(self, count: int) -> str:
        return f"{super().effect(count)} Name and address are its from then on."


class NewCustomerForm(ReasonForm):
    """Another e-mail for the new customer, where somebody here has the one at Stripe."""

    owner: User
    email = forms.EmailField(
        label="Another e-mail",
        required=False,
        widget=UnfoldAdminEmailInputWidget,
        help_text="Where somebody else has the address already. It replaces the one at Stripe too.",
    )


class CreateCustomer(LinkToCustomer):
    """A new customer is made for it."""

    name = "create_customer"
    label = "Create a customer"
    icon = "person_add"
    form_class = NewCustomerForm

    def effect(self, count: int) -> str:
        return "A new customer is made with the name and address that Stripe has, and linked."

    def carry_out(self, rows: QuerySet[Any], *, actor: str, reason: str, form: Any) -> str:
        email = form.cleaned_data["email"] or None
        form.owner = customers.create_customer(rows.get().pk, actor=actor, reason=reason, email=email)
        return f"{form.owner} is a customer now."


@admin.register(UnmatchedCustomer)
class UnmatchedCustomerAdmin(OperationsMixin, ReadOnlyModelAdmin):
    """Customers at Stripe that nobody could say whose they are."""

    operations = (LinkToCustomer(), LinkAndMakePrimary(), CreateCustomer())
    stripe = stripe_id_column("stripe_customer_id", description="Stripe customer")
    first_seen = moment_column("first_seen_at", description="first seen")

    list_display = ("stripe_customer_id", "email", "name", "reason", "first_seen")
    sortable_by = ()
    nothing = "Every customer at Stripe is one of ours"
    fieldsets = ((None, {"fields": ("stripe", "email", "candidate", "name", "reason", "first_seen")}),)
    readonly_fields = ("stripe", "candidate", "first_seen")

    @admin.display(description="customer of the same address")
    def candidate(self, obj: UnmatchedCustomer) -> str:
        user = candidate(obj)
        if user is None:
            return EMPTY
        return format_html('<a class="gf-link" href="{}">{}</a>', customer_url(user.pk), user)
