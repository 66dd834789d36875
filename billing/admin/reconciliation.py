"""The pages of comparisons with Stripe and of the differences that they found."""

from typing import Any

from django.contrib import admin
from django.db.models import Count, OuterRef, QuerySet, Subquery
from django.db.models.functions import Coalesce
from django.http import HttpRequest

from billing.admin.customer_link import customer_column
from billing.admin.stripe_links import stripe_id_column
from billing.models import Difference, ReconciliationRun
from billing.services import customers, reconciliation
from glyphforge.admin.columns import badge_column, column, moment_column, number, yes_no_column
from glyphforge.admin.model_admin import ReadOnlyModelAdmin
from glyphforge.admin.operations import Operation, OperationsMixin, ReasonForm, counted


class Repair(Operation):
    """Rows that differ are brought in line with Stripe."""

    name = "repair"
    label = "Repair"
    permission = "billing.repair_difference"
    icon = "build"
    can_rehearse = True
    on_selection = True
    on_all = True
    when = {
        "status": Difference.Status.OPEN,
        "kind": {Difference.Kind.MISSING_LOCALLY, Difference.Kind.DIFFERS},
    }

    def describe(self, row: Difference) -> str:
        local, stripe = row.local_value or "nothing", row.stripe_value or "nothing"
        return f"{row.stripe_id} {row.field}: {local} locally, {stripe} at Stripe"

    def effect(self, count: int) -> str:
        return (
            f"The whole state of each customer behind {counted(count, 'difference')} is fetched from Stripe, and our"
            " rows are made to agree with it."
        )

    def carry_out(self, rows: QuerySet[Any], *, actor: str, reason: str, form: ReasonForm) -> str:
        chosen = rows.count()
        repaired = reconciliation.repair(rows, actor=actor, reason=reason)
        left = (
            f" {counted(chosen - repaired, 'difference')} could not be; the note says why." if chosen > repaired else ""
        )
        return f"{counted(repaired, 'difference')} repaired.{left if chosen > repaired else ''}"


class MoveToNamed(Operation):
    """A Stripe customer goes to whom its metadata names now."""

    name = "move"
    label = "Move"
    permission = "billing.link_customer"
    icon = "move_up"
    when = {"status": Difference.Status.OPEN, "kind": Difference.Kind.OTHER_OWNER}

    def describe(self, row: Difference) -> str:
        return f"{row.stripe_id}: {row.note}"

    def effect(self, count: int) -> str:
        return "Its subscriptions and payments go along to the customer whom its metadata names; figures follow."

    def carry_out(self, rows: QuerySet[Any], *, actor: str, reason: str, form: ReasonForm) -> str:
        difference = rows.get()
        user = customers.move_to_named(difference, actor=actor, reason=reason)
        return f"{difference.stripe_id} belongs to {user} now."


class KeepOwner(MoveToNamed):
    """A Stripe customer stays where it is, whatever its metadata says."""

    name = "keep"
    label = "Keep"
    icon = "lock"

    def effect(self, count: int) -> str:
        return "It stays where it is, and its metadata at Stripe is set to name that customer again."

    def carry_out(self, rows: QuerySet[Any], *, actor: str, reason: str, form: ReasonForm) -> str:
        difference = rows.get()
        user = customers.keep_owner(difference, actor=actor, reason=reason)
        return f"{difference.stripe_id} stays with {user}; Stripe says so too."


@admin.register(Difference)
class DifferenceAdmin(OperationsMixin, ReadOnlyModelAdmin):
    """Where our tables and Stripe disagree, field by field."""

    operations = (Repair(), MoveToNamed(), KeepOwner())
    customer = customer_column()
    state = badge_column("status", Difference.Status, description="status")
    stripe = stripe_id_column("stripe_id", description="Stripe object")
    found = moment_column("found_at", description="found")
    closed = moment_column("closed_at", description="closed")

    list_display = ("stripe_id", "field", "local_value", "stripe_value", "state", "customer", "note")
    list_filter = ("status", "kind")
    list_select_related = ("user",)
    sortable_by = ()
    nothing = "Our tables and Stripe agree"
    fieldsets = (
        (None, {"fields": ("stripe", "object_kind", "field", "local_value", "stripe_value", "kind", "state", "note")}),
        ("Times", {"fields": ("found", "closed", "run")}),
    )
    readonly_fields = ("stripe", "state", "found", "closed")


@admin.register(ReconciliationRun)
class ReconciliationRunAdmin(ReadOnlyModelAdmin):
    """Comparisons with Stripe: how far, how much, and who asked."""

    state = badge_column("status", ReconciliationRun.Status, description="status")
    started = moment_column("started_at", description="started")
    finished = moment_column("finished_at", description="finished")
    ingests = yes_no_column("ingest", description="ingests missing events")
    repairs = yes_no_column("repair", description="repairs differences")
    rows = column("progress", str, description="compared")
    left = column("left", number, description="left open")
    missing = column("missing_events", number)
    found = column("differences_found", number)
    corrected = column("repaired", number)
    asked = column("requests", number)
    since = moment_column("events_from", description="events since")

    list_display = (
        "started",
        "state",
        "phase",
        "rows",
        "missing",
        "found",
        "corrected",
        "left",
        "asked",
        "actor",
    )
    list_display_links = ("started",)
    sortable_by = ()
    fieldsets = (
        (None, {"fields": ("state", "phase", "error", "actor", "reason", "ingests", "repairs")}),
        ("Found", {"fields": ("rows", "missing", "found", "corrected", "left")}),
        ("Effort", {"fields": ("started", "finished", "since", "asked", "request_budget")}),
    )
    readonly_fields = (
        "state",
        "started",
        "finished",
        "since",
        "ingests",
        "repairs",
        "rows",
        "missing",
        "found",
        "corrected",
        "left",
        "asked",
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet[ReconciliationRun]:
        open_ones = Difference.objects.filter(run=OuterRef("pk"), status=Difference.Status.OPEN).order_by()
        counted = open_ones.values("run").annotate(count=Count("pk")).values("count")
        queryset: QuerySet[ReconciliationRun] = super().get_queryset(request)
        return queryset.annotate(left=Coalesce(Subquery(counted), 0))
