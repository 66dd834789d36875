"""The pages of invoices that are not paid, and what staff may decide of one."""

from typing import Any, ClassVar

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest

from billing.admin import exports
from billing.admin.customer_link import SearchByCustomerMixin, customer_column
from billing.admin.dunning_operations import DUNNING, described
from billing.admin.payment import document_link
from billing.admin.stripe_links import stripe_id_column
from billing.admin.stripe_operation import StripeOperation, told
from billing.models import OpenInvoice, StripeRequest
from billing.services import dunning, invoices
from billing.services.declines import decline_words
from glyphforge.admin.columns import EMPTY, copyable_column, moment_column, money_column
from glyphforge.admin.model_admin import ReadOnlyModelAdmin
from glyphforge.admin.operations import OperationsMixin, ReasonForm


class SettleInvoice(StripeOperation):
    """An invoice that is not paid gets another status at Stripe: that of `kind`."""

    kind: ClassVar[StripeRequest.Kind]
    became: ClassVar[str]
    permission = "billing.settle_invoice"

    def describe(self, row: OpenInvoice) -> str:
        return described(row)

    def nothing(self, row: OpenInvoice) -> str:
        return f"An invoice that is {row.get_status_display().lower()} cannot be settled so."

    def carry_out(self, rows: QuerySet[Any], *, actor: str, reason: str, form: ReasonForm) -> str:
        row = rows.get()
        request = invoices.settle(row, self.kind, actor=actor, reason=reason, token=form.token)
        return told(f"The invoice {dunning.named(row)} is {self.became} at Stripe.", request)


class VoidInvoice(SettleInvoice):
    """Nobody owes the invoice any more."""

    name = "void_invoice"
    label = "Void"
    icon = "block"
    danger = True
    kind = StripeRequest.Kind.VOID_INVOICE
    became = "void"
    when = {"status": invoices.SETTLED_FROM[kind]}

    def effect(self, count: int) -> str:
        return "Stripe is asked to take the invoice as if it had never been made. That cannot be taken back."


class MarkPaid(SettleInvoice):
    """The invoice was paid in another way, as by bank transfer."""

    name = "mark_paid"
    label = "Mark as paid"
    icon = "price_check"
    kind = StripeRequest.Kind.MARK_PAID
    became = "paid"
    when = {"status": invoices.SETTLED_FROM[kind]}

    def effect(self, count: int) -> str:
        return "Stripe is told that the invoice was paid outside of Stripe, and charges nobody for it."


class MarkUncollectible(SettleInvoice):
    """The invoice is given up, and can still be paid."""

    name = "mark_uncollectible"
    label = "Give up"
    icon = "money_off"
    danger = True
    kind = StripeRequest.Kind.MARK_UNCOLLECTIBLE
    became = "uncollectible"
    when = {"status": invoices.SETTLED_FROM[kind]}

    def effect(self, count: int) -> str:
        return "Stripe is asked to mark the invoice as uncollectible: it is a bad debt, and is not tried again."


@admin.register(OpenInvoice)
class OpenInvoiceAdmin(OperationsMixin, SearchByCustomerMixin, ReadOnlyModelAdmin):
    """Invoices of live subscriptions that are not paid."""

    operations = (*DUNNING, MarkPaid(), VoidInvoice(), MarkUncollectible(), exports.OF_CUSTOMERS)
    customer = customer_column()
    amount = money_column("amount_due_cents", description="to pay")
    stripe_invoice = stripe_id_column("stripe_invoice_id", description="Stripe invoice")
    next_attempt = moment_column("next_attempt_at", description="next try")
    due = moment_column("due_at", description="due")
    overdue = moment_column("overdue_since", description="overdue since")
    created = moment_column("created_at", description="created", ordering="created_at")
    updated = moment_column("updated_at", description="updated")
    row_id = copyable_column("id", description="id")

    list_display = (
        "number",
        "amount",
        "status",
        "customer",
        "attempt_count",
        "why",
        "overdue",
        "next_attempt",
    )
    list_filter = ("status",)
    linked_by = ("user__id__exact",)
    list_select_related = ("user",)
    sortable_by = ("created",)
    ordering = ("-created_at",)
    own_ids = ("stripe_invoice_id", "number")
    search_help_text = "Customer's e-mail, or the number or id of an invoice"
    fieldsets = (
        (None, {"fields": ("customer", "number", "amount", "status", "document")}),
        (
            "Tries",
            {"fields": ("attempt_count", "why", "failure_code", "decline_code", "next_attempt", "due", "overdue")},
        ),
        ("Looked after", {"fields": ("owner", "time")}),
        ("Ids", {"fields": ("stripe_invoice", "row_id", "created", "updated")}),
    )
    readonly_fields = (
        "customer",
        "amount",
        "document",
        "why",
        "owner",
        "time",
        "next_attempt",
        "due",
        "overdue",
        "stripe_invoice",
        "row_id",
        "created",
        "updated",
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet[OpenInvoice]:
        queryset: QuerySet[OpenInvoice] = super().get_queryset(request)
        return queryset.annotate(reason=decline_words(), **dunning.of_case())

    @admin.display(description="owner")
    def owner(self, obj: Any) -> str:
        """Who looks after it."""
        return obj.owner or EMPTY

    @admin.display(description="time until")
    def time(self, obj: Any) -> str:
        """Until which day the customer was given time, the day included."""
        return f"{obj.extended_until_on:%Y-%m-%d}" if obj.extended_until_on else EMPTY

    @admin.display(description="why")
    def why(self, obj: Any) -> str:
        """Why the last try failed, in words."""
        return obj.reason or EMPTY

    @admin.display(description="document")
    def document(self, obj: OpenInvoice) -> str:
        return document_link(obj.hosted_invoice_url, "Invoice")
