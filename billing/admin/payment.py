"""The pages of payments: what was charged, what was given back, and the refund."""

from django.contrib import admin
from django.utils.html import format_html

from billing.admin.customer_link import SearchByCustomerMixin, customer_column
from billing.admin.payment_operations import RefundPayment
from billing.admin.stripe_links import stripe_id_column
from billing.models import Payment
from glyphforge.admin.columns import EMPTY, badge_column, copyable_column, moment_column, money_column
from glyphforge.admin.model_admin import ReadOnlyModelAdmin
from glyphforge.admin.operations import OperationsMixin


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

    operations = (RefundPayment(),)
    customer = customer_column()
    amount = money_column("amount_cents")
    refunded = money_column("refunded_cents", zero=EMPTY)
    state = badge_column("status", Payment.Status, description="status")
    charge = copyable_column("stripe_charge_id", description="Stripe charge")
    stripe_charge = stripe_id_column("stripe_charge_id", description="Stripe charge")
    stripe_invoice = stripe_id_column("stripe_invoice_id", description="Stripe invoice")
    stripe_payment_intent = stripe_id_column("stripe_payment_intent_id", description="Stripe payment intent")
    paid = moment_column("paid_at", description="paid")
    created = moment_column("created_at", description="created", ordering="created_at")
    row_id = copyable_column("id", description="id")

    list_display = ("amount", "state", "refunded", "customer", "charge", "created", "receipt")
    list_filter = ("status",)
    linked_by = ("user__id__exact",)
    list_select_related = ("user",)
    sortable_by = ("created",)
    ordering = ("-created_at",)
    own_ids = ("stripe_charge_id", "stripe_invoice_id", "stripe_payment_intent_id")
    search_help_text = "Customer's e-mail, or a Stripe invoice, charge or payment intent"
    fieldsets = (
        (None, {"fields": ("customer", "amount", "refunded", "state", "failure_message")}),
        ("Documents", {"fields": ("invoice", "receipt")}),
        ("Ids", {"fields": ("stripe_charge", "stripe_invoice", "stripe_payment_intent", "row_id")}),
        ("Times", {"fields": ("paid", "created")}),
    )
    readonly_fields = (
        "customer",
        "amount",
        "refunded",
        "state",
        "invoice",
        "receipt",
        "stripe_charge",
        "stripe_invoice",
        "stripe_payment_intent",
        "row_id",
        "paid",
        "created",
    )

    @admin.display(description="invoice")
    def invoice(self, obj: Payment) -> str:
        return document_link(obj.invoice_url, "Invoice")

    @admin.display(description="receipt")
    def receipt(self, obj: Payment) -> str:
        return document_link(obj.receipt_url, "Receipt")
