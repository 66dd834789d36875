from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.utils.html import format_html

from billing.admin import tones
from billing.admin.customer_link import customer_url
from billing.admin.operations import Operation, OperationsMixin, ReasonForm, counted
from billing.admin.stripe_links import stripe_id_column
from billing.models import Difference, ReconciliationRun
from billing.services import reconciliation
from glyphforge.admin import ReadOnlyModelAdmin
from glyphforge.display import EMPTY, badge_column, column, moment_column, number, yes_no_column


class Heal(Operation):
    """Rows that differ are brought in line with Stripe."""

    name = "heal"
    label = "Heal"
    permission = "billing.heal_difference"
    icon = "healing"
    on_selection = True
    on_all = True

    def applicable(self, rows: QuerySet[Any]) -> QuerySet[Any]:
        return rows.filter(status=Difference.Status.OPEN).exclude(kind=Difference.Kind.MISSING_THERE)

    def offered(self, row: Difference) -> bool:
        return row.status == Difference.Status.OPEN and row.kind != Difference.Kind.MISSING_THERE

    def describe(self, row: Difference) -> str:
        return f"{row.stripe_id} {row.field}: {row.here or 'nothing'} here, {row.there or 'nothing'} at Stripe"

    def effect(self, count: int) -> str:
        return (
            f"The whole state of each customer behind {counted(count, 'difference')} is fetched from Stripe, and our"
            " rows are made to agree with it."
        )

    def carry_out(self, rows: QuerySet[Any], *, actor: str, reason: str, form: ReasonForm) -> str:
        chosen = rows.count()
        healed = reconciliation.heal(rows, actor=actor, reason=reason)
        left = f" {counted(chosen - healed, 'difference')} could not be; the note says why." if chosen > healed else ""
        return f"{counted(healed, 'difference')} healed.{left}"


@admin.register(Difference)
class DifferenceAdmin(OperationsMixin, ReadOnlyModelAdmin):
    """Where our tables and Stripe disagree, field by field."""

    operations = (Heal(),)
    state = badge_column("status", tones.DIFFERENCE, description="status")
    stripe = stripe_id_column("stripe_id", description="Stripe object")
    found = moment_column("found_at", description="found")
    closed = moment_column("closed_at", description="closed")

    list_display = ("stripe_id", "field", "here", "there", "state", "customer", "note")
    list_filter = ("status", "kind")
    list_select_related = ("user",)
    sortable_by = ()
    nothing = "Our tables and Stripe agree"
    fieldsets = (
        (None, {"fields": ("stripe", "object_kind", "field", "here", "there", "kind", "state", "note")}),
        ("Times", {"fields": ("found", "closed", "run")}),
    )
    readonly_fields = ("stripe", "state", "found", "closed")

    @admin.display(description="customer")
    def customer(self, obj: Difference) -> str:
        if obj.user is None:
            return EMPTY
        return format_html('<a class="gf-link" href="{}">{}</a>', customer_url(obj.user_id), obj.user)


@admin.register(ReconciliationRun)
class ReconciliationRunAdmin(ReadOnlyModelAdmin):
    """Comparisons with Stripe: how far, how much, and who asked."""

    state = badge_column("status", tones.RECONCILIATION, description="status")
    started = moment_column("started_at", description="started")
    finished = moment_column("finished_at", description="finished")
    takes_in = yes_no_column("take_in", description="takes in missing events")
    heals = yes_no_column("heal", description="heals differences")
    rows = column("compared", number)
    missing = column("missing_events", number)
    found = column("differences_found", number)
    mended = column("healed", number)
    asked = column("requests", number)
    since = moment_column("events_from", description="events since")

    list_display = (
        "started",
        "state",
        "phase",
        "rows",
        "missing",
        "found",
        "mended",
        "asked",
        "actor",
    )
    list_display_links = ("started",)
    sortable_by = ()
    fieldsets = (
        (None, {"fields": ("state", "phase", "error", "actor", "reason", "takes_in", "heals")}),
        ("Found", {"fields": ("rows", "missing", "found", "mended")}),
        ("Effort", {"fields": ("started", "finished", "since", "asked", "request_budget")}),
    )
    readonly_fields = (
        "state",
        "started",
        "finished",
        "since",
        "takes_in",
        "heals",
        "rows",
        "missing",
        "found",
        "mended",
        "asked",
    )
