"""The page of what waits for another person, and its two answers."""

from typing import Any

from django.contrib import admin
from django.db.models import QuerySet

from glyphforge.admin.columns import badge_column, moment_column
from glyphforge.admin.model_admin import ReadOnlyModelAdmin
from glyphforge.admin.operations import Operation, OperationsMixin, ReasonForm
from glyphforge.approval import requests
from glyphforge.approval.models import Approval


class Approve(Operation):
    """What another person asked for is done."""

    name = "approve"
    label = "Approve"
    permission = "approval.decide_approval"
    icon = "how_to_reg"
    danger = True
    when = {"state": Approval.State.ASKED}

    def effect(self, count: int) -> str:
        return "What was asked for is done, under both names. Whoever asked for it cannot approve it."

    def carry_out(self, rows: QuerySet[Any], *, actor: str, reason: str, form: ReasonForm) -> str:
        requests.approve(rows.get(), actor=actor, reason=reason)
        return "It is approved, and on its way."


class Refuse(Operation):
    """What another person asked for is not done."""

    name = "refuse"
    label = "Refuse"
    permission = "approval.decide_approval"
    icon = "do_not_disturb_on"
    when = {"state": Approval.State.ASKED}

    def effect(self, count: int) -> str:
        return "What was asked for is not done; it can be asked for anew."

    def carry_out(self, rows: QuerySet[Any], *, actor: str, reason: str, form: ReasonForm) -> str:
        requests.refuse(rows.get(), actor=actor, reason=reason)
        return "It is refused."


@admin.register(Approval)
class ApprovalAdmin(OperationsMixin, ReadOnlyModelAdmin):
    """What one person asks for and another decides."""

    operations = (Approve(), Refuse())
    standing = badge_column("state", Approval.State, description="state")
    asked = moment_column("asked_at", description="asked", ordering="asked_at")
    stale = moment_column("expires_at", description="stale")
    decided = moment_column("decided_at", description="decided")

    list_display = ("summary", "standing", "asked_by", "asked", "decided_by", "decided")
    list_filter = ("state",)
    ordering = ("-asked_at",)
    sortable_by = ("asked",)
    search_fields = ("subject__startswith",)
    search_help_text = "The id of what it is about"
    fieldsets = (
        (None, {"fields": ("summary", "standing", "reason", "asked_by", "asked", "stale")}),
        ("Decision", {"fields": ("decided_by", "decided", "decision_reason")}),
    )
    readonly_fields = ("standing", "asked", "stale", "decided")
