"""The pages of payments: what came in, what went out again and when, and the refund."""

from django.contrib import admin
from django.utils.html import format_html, format_html_join

from billing.admin import exports
from billing.admin.customer_link import SearchByCustomerMixin, as_of_link, customer_column
from billing.admin.payment_operations import RefundPayment
from billing.admin.stripe_links import stripe_id, stripe_id_column
from billing.models import Payment, PaymentMovement
from billing.services.inquiries import open_inquiries
from glyphforge.admin.columns import (
    EMPTY,
    badge_column,
    choice_badge,
    copyable_column,
    figure,
    moment,
    moment_column,
    money_column,
    yes_no_column,
)
from glyphforge.admin.model_admin import ReadOnlyModelAdmin
from glyphforge.admin.operations import OperationsMixin
from glyphforge.money import money


def document_link(url: str | None, text: str) -> str:
    """A link to an invoice or receipt that Stripe hosts."""
    if not url or not url.startswith("https://"):
        return EMPTY
    return format_html(
        '<a class="gf-link gf-external" href="{}" target="_blank" rel="noopener noreferrer">{}</a>', url, text
    )


@admin.register(Payment)
class PaymentAdmin(OperationsMixin, SearchByCustomerMixin, ReadOnlyModelAdmin):
    """Charges, as Stripe has them."""

    operations = (RefundPayment(), exports.OF_CUSTOMERS)
    customer = customer_column()
    amount = money_column("amount_cents")
    refunded = money_column("refunded_cents", zero=EMPTY)
    disputed = money_column("disputed_cents", zero=EMPTY)
    left = money_column("left_cents", description="left")
    elsewhere = yes_no_column("paid_out_of_band", description="paid outside of Stripe")
    next_attempt = moment_column("next_attempt_at", description="next attempt")
    state = badge_column("status", Payment.Status, description="status")
    charge = copyable_column("stripe_charge_id", description="Stripe charge")
    stripe_charge = stripe_id_column("stripe_charge_id", description="Stripe charge")
    stripe_invoice = stripe_id_column("stripe_invoice_id", description="Stripe invoice")
    stripe_payment_intent = stripe_id_column("stripe_payment_intent_id", description="Stripe payment intent")
    paid = moment_column("paid_at", description="paid")
    created = moment_column("created_at", description="created", ordering="created_at")
    row_id = copyable_column("id", description="id")

    list_display = ("amount", "state", "refunded", "disputed", "customer", "charge", "created", "receipt")
    list_filter = ("status",)
    linked_by = ("user__id__exact",)
    list_select_related = ("user",)
    sortable_by = ("created",)
    ordering = ("-created_at",)
    own_ids = ("stripe_charge_id", "stripe_invoice_id", "stripe_payment_intent_id")
    search_help_text = "Customer's e-mail, or a Stripe invoice, charge or payment intent"
    fieldsets = (
        (None, {"fields": ("customer", "amount", "state", "refunded", "disputed", "left", "elsewhere", "inquiry")}),
        ("Movements", {"fields": ("movements",)}),
        ("Attempts", {"fields": ("failure_code", "failure_message", "attempt_count", "next_attempt")}),
        ("Documents", {"fields": ("invoice", "receipt")}),
        ("Ids", {"fields": ("stripe_charge", "stripe_invoice", "stripe_payment_intent", "row_id")}),
        ("Times", {"fields": ("paid", "created", "as_of")}),
    )
    readonly_fields = (
        "customer",
        "amount",
        "refunded",
        "disputed",
        "left",
        "elsewhere",
        "inquiry",
        "movements",
        "next_attempt",
        "state",
        "invoice",
        "receipt",
        "stripe_charge",
        "stripe_invoice",
        "stripe_payment_intent",
        "row_id",
        "paid",
        "created",
        "as_of",
    )

    @admin.display(description="the customer")
    def as_of(self, obj: Payment) -> str:
        return as_of_link(obj.user_id, obj.paid_at or obj.created_at)

    @admin.display(description="inquiry")
    def inquiry(self, obj: Payment) -> str:
        """What a bank asks about the payment, and until when; nothing was taken for it."""
        found = format_html_join(
            "",
            "<div>{} about {}, to be answered until {}{}</div>",
            (
                (
                    stripe_id(each.stripe_dispute_id),
                    money(each.amount_cents, obj.currency),
                    moment(each.due_at),
                    "; a refund closes it" if each.is_refundable else "",
                )
                for each in open_inquiries(obj)
            ),
        )
        return found or EMPTY

    @admin.display(description="movements")
    def movements(self, obj: Payment) -> str:
        """What came in and went out again, by its own date: what the figures add up."""
        rows = format_html_join(
            "",
            '<tr><td>{}</td><td>{}</td><td class="gf-nowrap">{}</td><td>{}</td><td>{}</td></tr>',
            (
                (
                    moment(row.occurred_at),
                    choice_badge(PaymentMovement.Kind(row.kind)),
                    figure(money(row.amount_cents, row.currency)),
                    stripe_id(row.stripe_object_id),
                    as_of_link(obj.user_id, row.created_at),
                )
                for row in obj.movements.order_by("occurred_at", "created_at", "number")
            ),
        )
        table = (
            '<table class="gf-rows"><thead><tr><th scope="col">When</th><th scope="col">What</th>'
            '<th scope="col">Amount</th><th scope="col">Stripe</th>'
            '<th scope="col">Customer</th></tr></thead><tbody>{}</tbody></table>'
        )
        return format_html(table, rows) if rows else EMPTY

    @admin.display(description="invoice")
    def invoice(self, obj: Payment) -> str:
        return document_link(obj.invoice_url, "Invoice")

    @admin.display(description="receipt")
    def receipt(self, obj: Payment) -> str:
        return document_link(obj.receipt_url, "Receipt")
