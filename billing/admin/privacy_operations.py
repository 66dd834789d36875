"""What the privacy desk may do to a customer: hand out, hold, erase."""

import tempfile
from typing import Any

from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponseBase

from billing.services.privacy import erasure, export, holds
from glyphforge.admin.export import attachment
from glyphforge.admin.operations import GIVEN, Operation, Preview, ReasonForm


class ExportForm(ReasonForm):
    """Why it is handed out; `file` is the ZIP once it is written."""

    file: Any = None


class ExportCustomer(Operation):
    """Everything about the customer, as a ZIP."""

    name = "export_data"
    label = "Export data"
    permission = "billing.export_user"
    icon = "folder_zip"
    form_class = ExportForm

    def effect(self, count: int) -> str:
        return "A ZIP of everything that is held about the customer is downloaded. Keys and secrets are not in it."

    def carry_out(self, rows: QuerySet[Any], *, actor: str, reason: str, form: Any) -> str:
        # Anonymous: gone with the answer, and readable by nobody else meanwhile.
        form.file = tempfile.TemporaryFile()  # noqa: SIM115 - the answer closes it
        counts = export.write(rows.get(), form.file, actor=actor, reason=reason)
        return f"The export holds {sum(counts.values()):,} rows."

    def respond(self, request: HttpRequest, form: Any, back: str) -> HttpResponseBase:
        return attachment(f"customer-{form.rows.get().pk}.zip", form.file, "zip")


class EraseCustomer(Operation):
    """Asks another person to have the customer erased."""

    name = "erase"
    label = "Erase"
    permission = "billing.erase_user"
    icon = "person_remove"
    danger = True
    has_preview = True
    when = {"erased_at": None}

    def effect(self, count: int) -> str:
        return (
            "Another person is asked to approve it. Then all that says who the customer was is erased for good;"
            " payments, invoices' numbers and every figure stay."
        )

    def preview(self, rows: QuerySet[Any], form: ReasonForm) -> Preview:
        found = erasure.preview(rows.get())
        return Preview("billing/erasure_preview.html", "", found)

    def carry_out(self, rows: QuerySet[Any], *, actor: str, reason: str, form: ReasonForm) -> str:
        request = erasure.ask(rows.get(), actor=actor, reason=reason)
        return f"Asked for by {request.asked_by}; another person decides it on the page Approvals."


class PlaceLegalHold(Operation):
    """The customer is not erased, whoever asks for it."""

    name = "hold"
    label = "Place legal hold"
    permission = "billing.hold_user"
    icon = "gavel"
    when = {"legal_hold": None, "erased_at": None}

    def effect(self, count: int) -> str:
        return "The customer cannot be erased until the hold is lifted."

    def carry_out(self, rows: QuerySet[Any], *, actor: str, reason: str, form: ReasonForm) -> str:
        holds.place(rows.get(), actor=actor, reason=reason)
        return "A legal hold is on the customer."


class LiftLegalHold(Operation):
    """The customer may be erased again."""

    name = "lift_hold"
    label = "Lift legal hold"
    permission = "billing.hold_user"
    icon = "lock_open"
    when = {"legal_hold": GIVEN}

    def effect(self, count: int) -> str:
        return "The customer may be erased again."

    def carry_out(self, rows: QuerySet[Any], *, actor: str, reason: str, form: ReasonForm) -> str:
        holds.lift(rows.get(), actor=actor, reason=reason)
        return "The legal hold is lifted."
