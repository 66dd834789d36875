"""Money at risk: what is overdue, what became of what failed, and the cards that will fail next."""

from typing import Any

from django.contrib import admin
from django.db.models import Model
from django.http import HttpRequest

from billing.models import OpenInvoice, Subscription, Tier, User, card_text
from glyphforge.admin.columns import EMPTY, badge, badge_column, moment, money_column, number, percent, relative_time
from glyphforge.admin.operations import offers_on
from glyphforge.choices import Tone
from glyphforge.money import money
from monitoring.admin.view import ViewAdmin, customer, rendered
from monitoring.models import ExpiringCard, PaymentAtRisk, PaymentRecovery

# What is done from the page of a payment at risk, beside the invoice's own operations: of which row, under which name.
BESIDE = {Subscription: "cancel", User: "note"}


@admin.display(description="card", ordering="card_expires_on")
def card(self: Any, obj: Any) -> str:
    """The card with its expiry."""
    return card_text(obj.card_brand, obj.card_last4, obj.card_expires_on) or EMPTY


@admin.register(PaymentAtRisk)
class PaymentAtRiskAdmin(ViewAdmin):
    """What is overdue, with all that may be done about it on a row's page."""

    who = customer()
    amount = money_column("amount_due_cents", description="to pay", ordering="amount_due_cents")
    mrr = money_column("mrr_cents", description="MRR", ordering="mrr_cents")
    why = rendered("reason", lambda reason: reason or EMPTY, description="why")
    card = card
    next_try = rendered("next_attempt_at", moment, description="next try")
    contact = rendered("last_contact_at", lambda at: relative_time(at) if at else EMPTY, description="last contact")
    looked_after = rendered("owner", lambda owner: owner or EMPTY, description="owner")
    tier_badge = badge_column("tier", Tier, description="plan", ordering="tier")
    state = badge_column(
        "subscription_status", Subscription.Status, description="status", ordering="subscription_status"
    )
    list_display = (
        "amount",
        "who",
        "mrr",
        "why",
        "card",
        "overdue",
        "next_try",
        "contact",
        "looked_after",
        "time",
    )
    list_filter = ("is_extended", "tier", "subscription_status", "currency")
    ordering = ("-mrr_cents", "-days_overdue", "id")
    nothing = "Nothing is overdue"
    repeated = ("card_brand", "card_last4", "is_extended", "subscription")
    search_fields = ("email__istartswith", "stripe_invoice_id__exact", "number__istartswith", "owner__exact")
    search_help_text = "E-mail, owner, or number or id of an invoice"

    @admin.display(description="overdue", ordering="days_overdue")
    def overdue(self, obj: Any) -> str:
        tries = f", {number(obj.attempt_count)} {'try' if obj.attempt_count == 1 else 'tries'}"
        return f"{obj.days_overdue:.0f} days{tries if obj.attempt_count else ''}"

    @admin.display(description="time until", ordering="extended_until_on")
    def time(self, obj: PaymentAtRisk) -> str:
        if obj.extended_until_on is None:
            return EMPTY
        day = f"{obj.extended_until_on:%Y-%m-%d}"
        return badge(day, Tone.INFO) if obj.is_extended else f"{day}, passed"

    def offers(self, request: HttpRequest, row: Model) -> list[dict[str, Any]]:
        """The invoice's own operations, the end of its subscription, and a note on the customer."""
        invoice = OpenInvoice.objects.select_related("subscription", "user").filter(pk=row.pk).first()
        if invoice is None:
            return []
        found = offers_on(request, invoice)
        for owner in (invoice.subscription, invoice.user):
            found += offers_on(request, owner, BESIDE[type(owner)])
        return found


def _both(count: str, cents: str, description: str) -> Any:
    """A column of how many, and how much that is."""

    @admin.display(description=description, ordering=cents)
    def show(self: Any, obj: PaymentRecovery) -> str:
        amount = getattr(obj, cents)
        return f"{number(getattr(obj, count))} · {money(amount, obj.currency)}" if amount else EMPTY

    return show


@admin.register(PaymentRecovery)
class PaymentRecoveryAdmin(ViewAdmin):
    """By month and reason: what failed at first, and what became of it."""

    when = rendered("month", lambda month: f"{month:%Y-%m}", description="month")
    why = rendered("reason", str, description="why")
    all_failed = _both("failed", "failed_cents", "failed")
    all_recovered = _both("recovered", "recovered_cents", "recovered")
    all_lost = _both("lost", "lost_cents", "lost")
    all_open = _both("open", "open_cents", "open")
    share = rendered("recovered_percent", percent, description="recovered, %")
    days = rendered("mean_days", lambda days: EMPTY if days is None else f"{days:.1f} days", description="took")
    list_display = ("when", "why", "all_failed", "all_recovered", "all_lost", "all_open", "share", "days")
    list_filter = ("currency", "code")
    ordering = ("-month", "-failed_cents", "id")
    nothing = "No payment has failed in 13 months"
    repeated = ("failed", "recovered", "lost", "open")
    search_fields = ("code__startswith", "reason__istartswith")
    search_help_text = "Decline code or reason"


@admin.register(ExpiringCard)
class ExpiringCardAdmin(ViewAdmin):
    """Cards that have to be replaced before they are charged next; write to the customer from their page."""

    who = customer()
    card = card
    charged = rendered("next_charge_at", moment, description="charged next")
    tier_badge = badge_column("tier", Tier, description="plan", ordering="tier")
    mrr = money_column("mrr_cents", description="MRR", ordering="mrr_cents")
    list_display = ("card", "who", "charged", "tier_badge", "mrr")
    list_filter = ("tier", "card_brand", "currency")
    ordering = ("next_charge_at", "-mrr_cents")
    nothing = "Every card outlives its next charge"
    repeated = ("card_brand", "card_last4")
    search_fields = ("email__istartswith", "card_last4__exact")
    search_help_text = "E-mail, or last four digits"
