"""The connections to the database: who holds what, and the means to end it."""

from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.html import format_html

from glyphforge.admin.columns import EMPTY, badge, moment
from glyphforge.admin.operations import Operation, ReasonForm
from glyphforge.audit.masking import mask
from glyphforge.choices import Tone
from glyphforge.database import sessions
from monitoring.admin.view import ViewAdmin, rendered
from monitoring.models import DatabaseConnections, DatabaseSession

TONES = {"active": Tone.INFO, "idle in transaction": Tone.WARNING, "idle in transaction (aborted)": Tone.WARNING}


class SignalOperation(Operation):
    """An operation on a session of somebody else."""

    permission = "monitoring.signal_databasesession"
    danger = True
    signal: sessions.Signal

    def applicable(self, rows: QuerySet[Any]) -> QuerySet[Any]:
        return super().applicable(rows).filter(is_own=False)

    def offered(self, row: Any) -> bool:
        return not row.is_own and super().offered(row)

    def describe(self, row: Any) -> str:
        return f"{row}, {row.state}: {mask(row.query or '')[:500]}"

    def carry_out(self, rows: QuerySet[Any], *, actor: str, reason: str, form: ReasonForm) -> str:
        session = rows.get()
        sessions.signal(session.pk, self.signal, holder=str(session), actor=actor, reason=reason)
        return f"{self.label}: told {session}."


class CancelQuery(SignalOperation):
    """Stops the statement that runs."""

    name, label, icon, signal = "cancel", "Cancel query", "cancel", "cancel"
    when = {"state": "active"}

    def effect(self, count: int) -> str:
        return "Stops the statement that runs now; its program gets an error, and the connection stays."


class EndSession(SignalOperation):
    """Ends the connection."""

    name, label, icon, signal = "end", "End session", "power_settings_new", "terminate"

    def effect(self, count: int) -> str:
        return (
            "Ends the connection: what its transaction has not committed is undone, its locks are free, and its program"
            " gets an error."
        )


@admin.register(DatabaseSession)
class DatabaseSessionAdmin(ViewAdmin):
    """Who holds what; those whom somebody waits for come first."""

    list_before_template = "monitoring/connections_used.html"

    application = rendered("application_name", lambda name: name or EMPTY, description="application")
    since_when = rendered("since", moment, description="since")
    in_transaction = rendered("transaction_since", moment, description="transaction")
    waits = rendered("wait_event", lambda event: event or EMPTY, description="waits for")
    held_up = rendered("blocks", lambda pids: pids or EMPTY, description="blocks")
    waits_behind = rendered("blocked_by", lambda pids: pids or EMPTY, description="blocked by")

    list_display = (
        "pid", "application", "username", "client", "condition", "since_when", "in_transaction", "held_up",
        "waits_behind", "statement",
    )  # fmt: skip
    list_filter = ("state", "username", "application_name")
    sortable_by = ("application", "since_when", "in_transaction")
    repeated = ("state", "query", "session_id", "is_own")
    nothing = "Nobody is connected"
    search_fields = ("application_name__istartswith", "username__startswith")
    search_help_text = "Application or role (its beginning)"

    fixes = (CancelQuery(), EndSession())

    def get_queryset(self, request: HttpRequest) -> QuerySet[DatabaseSession]:
        queryset: QuerySet[DatabaseSession] = super().get_queryset(request)
        return queryset.order_by("blocks", "blocked_by", "transaction_since", "pid")

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> Any:
        used = DatabaseConnections.objects.first()
        return super().changelist_view(request, {"connections": used, **(extra_context or {})})

    @admin.display(description="state", ordering="state")
    def condition(self, obj: DatabaseSession) -> str:
        return badge(obj.state, TONES[obj.state]) if obj.state in TONES else obj.state

    @admin.display(description="statement")
    def statement(self, obj: DatabaseSession) -> str:
        text = mask(obj.query or "")
        return format_html('<span class="gf-clip" title="{}">{}</span>', text, text) if text else EMPTY
