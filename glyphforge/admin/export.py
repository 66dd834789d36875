"""Lists as files: what the list shows, safe to open in a spreadsheet, with a row in the audit log."""

import csv
import io
import json
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import IO, Any

from django import forms
from django.core.serializers.json import DjangoJSONEncoder
from django.db import transaction
from django.db.models import QuerySet
from django.http import FileResponse, HttpRequest, HttpResponse, HttpResponseBase
from django.utils import timezone

from glyphforge.admin.operations import Operation, ReasonForm, counted
from glyphforge.audit import acting_as, record
from glyphforge.audit.masking import mask

MOST_ROWS = 1_000_000
CHUNK = 2_000
IN_MEMORY = 4 * 2**20  # bytes
# A cell that begins like this, whatever stands before it, is a formula to a spreadsheet, in full width as well:
# https://owasp.org/www-community/attacks/CSV_Injection
_FORMULA = tuple("=+-@＝＋－＠")  # noqa: RUF001 - these are meant
_BEFORE = "\"' \t\r\n\v\f\N{NO-BREAK SPACE}\N{IDEOGRAPHIC SPACE}"
Row = Sequence[Any]


class ExportForm(ReasonForm):
    """Which kind of file; holds it from its making to the answer."""

    kind = forms.ChoiceField(
        label="File",
        choices={"csv": "CSV, for spreadsheets", "ndjson": "NDJSON, for programs"},
        required=False,
        help_text="NDJSON has a JSON object a line.",
    )
    file: HttpResponseBase | None = None
    field_order = ("kind", "reason")


class Export(Operation):
    """The rows as a file, with an entry in the audit log that says who took how many, of which list, and why.

    `also` are columns beside the table's own, by name: where Django finds them. The file is made row by row, in a
    temporary file: a million rows need no more memory than a thousand.
    """

    name = "export"
    label = "Export"
    icon = "download"
    on_one = False
    on_all = True
    once = False  # the page stays after the download
    form_class = ExportForm

    def __init__(self, permission: str, also: Mapping[str, str] | None = None) -> None:
        self.permission = permission
        self.also = dict(also or {})

    def effect(self, count: int) -> str:
        kept = f", the first {MOST_ROWS:,} of them" if count > MOST_ROWS else ""
        downloaded = "is downloaded" if count == 1 else "are downloaded"
        return f"{counted(count, 'row')}{kept} {downloaded}. The audit log keeps who did so and why."

    def carry_out(self, rows: QuerySet[Any], *, actor: str, reason: str, form: ReasonForm) -> str:
        fields = rows.query.get_meta().concrete_fields
        columns = {str(field.column): str(field.attname) for field in fields} | self.also
        table = rows.query.get_meta().db_table
        kind = form.cleaned_data.get("kind") or "csv"
        with acting_as(actor=actor, reason=reason), transaction.atomic():
            found = rows.values_list(*columns.values())[:MOST_ROWS].iterator(chunk_size=CHUNK)
            file = tempfile.TemporaryFile()  # noqa: SIM115 - the answer closes it, or nobody holds it any more
            count = WRITERS[kind](file, list(columns), (_masked(row) for row in found))
            narrowed = {"shown": form.narrowed} if form.narrowed else {}
            record("export", table_name=table, reason=reason, new_values={"rows": count, **narrowed})
        if isinstance(form, ExportForm):
            name = f"{table}-{timezone.now():%Y%m%d-%H%M}.{kind}"
            form.file = attachment(name, file, kind)
        return f"{counted(count, 'row')} exported."

    def respond(self, request: HttpRequest, form: ReasonForm, back: str) -> HttpResponseBase:
        if isinstance(form, ExportForm) and form.file is not None:
            return form.file
        return super().respond(request, form, back)


def write_csv(file: IO[bytes], columns: Sequence[str], rows: Iterable[Row]) -> int:
    """Write the rows under their column names, as spreadsheets read UTF-8; returns how many they were.

    Times are in ISO 8601, None is nothing. A text that a spreadsheet would take for a formula gets an apostrophe in
    front.
    """
    text = io.TextIOWrapper(file, encoding="utf-8-sig", newline="", write_through=True)
    writer = csv.writer(text)
    writer.writerow(columns)
    count = 0
    for count, row in enumerate(rows, 1):  # noqa: B007 - how many they were
        writer.writerow([_cell(value) for value in row])
    text.detach()
    return count


def write_ndjson(file: IO[bytes], columns: Sequence[str], rows: Iterable[Row]) -> int:
    """Write each row as a JSON object on a line of its own; returns how many they were."""
    count = 0
    for count, row in enumerate(rows, 1):  # noqa: B007 - how many they were
        named = dict(zip(columns, row, strict=True))
        file.write(json.dumps(named, cls=DjangoJSONEncoder, ensure_ascii=False).encode() + b"\n")
    return count


WRITERS: dict[str, Callable[[IO[bytes], Sequence[str], Iterable[Row]], int]] = {
    "csv": write_csv,
    "ndjson": write_ndjson,
}
TYPES = {"csv": "text/csv; charset=utf-8", "ndjson": "application/x-ndjson", "zip": "application/zip"}


def attachment(name: str, file: IO[bytes], kind: str) -> HttpResponseBase:
    """A download that no browser or proxy keeps; a long one is read from the file as it is sent, which closes it."""
    headers = {"Cache-Control": "no-store", "Content-Disposition": f'attachment; filename="{name}"'}
    if file.seek(0, io.SEEK_END) > IN_MEMORY:
        file.seek(0)
        return FileResponse(file, content_type=TYPES[kind], headers=headers)
    with file:
        file.seek(0)
        return HttpResponse(file.read(), content_type=TYPES[kind], headers=headers)


def _masked(row: Row) -> list[Any]:
    return [mask(value) if isinstance(value, str) else value for value in row]


def _cell(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, str) and value.lstrip(_BEFORE).startswith(_FORMULA):
        return f"'{value}"
    return value
