"""The pages of what Stripe was asked to change: what, for whom, by whom, and what became of it."""

import json
from typing import Any

from django.contrib import admin
from django.db.models import QuerySet

from billing.admin.customer_link import SearchByCustomerMixin, customer_column
from billing.admin.stripe_links import stripe_id_column
from billing.models import StripeRequest
from billing.stripe.errors import PermanentError, TransientError
from billing.stripe.requests import settling
from glyphforge.admin.columns import badge_column, copyable_column, moment_column, preformatted
from glyphforge.admin.model_admin import ReadOnlyModelAdmin
from glyphforge.admin.operations import Operation, OperationsMixin, ReasonForm
from glyphforge.audit import acting_as
from glyphforge.errors import Notice, Refused


class LookAtStripe(Operation):
    """Stripe is asked what became of it."""

    name = "look"
    label = "Look at Stripe"
    permission = "billing.sync_customer"
    icon = "search"
    when = {"state": StripeRequest.OPEN}

    def effect(self, count: int) -> str:
        return "Stripe is asked whether it was done. Nothing is asked for again."

    def carry_out(self, rows: QuerySet[Any], *, actor: str, reason: str, form: ReasonForm) -> str:
        try:
            with acting_as(actor=actor, reason=reason):
                request = settling.look(rows.select_related("user").get())
        except (TransientError, PermanentError) as error:
            raise Refused(f"Stripe does not say: {error}") from error
        if request.is_open:
            raise Notice("Stripe does not show it yet. It is looked at again every minute.")
        return f"{request}: {request.get_state_display().lower()}. {request.answer}"


@admin.register(StripeRequest)
class StripeRequestAdmin(OperationsMixin, SearchByCustomerMixin, ReadOnlyModelAdmin):
    """What Stripe was asked to change."""

    operations = (LookAtStripe(),)
    customer = customer_column()
    current = badge_column("state", StripeRequest.State, description="state")
    stripe_object = stripe_id_column("stripe_object_id", description="Stripe object")
    made = copyable_column("answer_id", description="made or changed")
    key = copyable_column("idempotency_key", description="idempotency key")
    row_key = copyable_column("row_id", description="our row")
    asked = moment_column("asked_at", description="asked", ordering="asked_at")
    looked = moment_column("looked_at", description="looked at Stripe")
    settled = moment_column("settled_at", description="settled")
    own_id = copyable_column("id", description="id")

    list_display = ("asked", "kind", "current", "stripe_object_id", "customer", "actor", "reason", "answer")
    list_display_links = ("asked",)
    list_filter = ("state", "kind")
    linked_by = ("user__id__exact",)
    list_select_related = ("user",)
    sortable_by = ("asked",)
    ordering = ("-asked_at",)
    own_ids = ("stripe_object_id", "answer_id", "idempotency_key")
    search_help_text = "Customer's e-mail, or the id of a charge, refund, subscription or customer at Stripe"
    fieldsets = (
        (None, {"fields": ("kind", "current", "customer", "stripe_object", "wanted", "answer", "made")}),
        ("Asked for", {"fields": ("actor", "reason")}),
        ("Times", {"fields": ("asked", "looked", "settled")}),
        ("Ids", {"fields": ("key", "row_key", "own_id")}),
    )
    readonly_fields = (
        "current",
        "customer",
        "stripe_object",
        "wanted",
        "made",
        "asked",
        "looked",
        "settled",
        "key",
        "row_key",
        "own_id",
    )

    @admin.display(description="parameters")
    def wanted(self, obj: StripeRequest) -> str:
        return preformatted(json.dumps(obj.parameters, indent=2))
