"""The base of the pages that show a view of the database."""

from collections.abc import Callable, Sequence
from typing import Any, ClassVar

from django.contrib import admin
from django.contrib.admin.utils import quote
from django.db import transaction
from django.db.models import Case, IntegerField, Model, QuerySet, Value, When
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.urls import reverse
from django.utils import timezone
from django.utils.html import format_html

from glyphforge.admin.columns import EMPTY, column
from glyphforge.admin.export import MOST_ROWS, as_csv, attachment
from glyphforge.admin.model_admin import ChangeList, ReadOnlyModelAdmin
from glyphforge.admin.operations import Operation, OperationsMixin, ReasonForm, counted
from glyphforge.admin.pagination import EstimatedPaginator, SingleReadPaginator
from glyphforge.audit import acting_as, record
from glyphforge.audit.masking import mask


class ExportForm(ReasonForm):
    """Holds the file from its making to the answer."""

    file: HttpResponse | None = None


class Export(Operation):
    """The rows as a CSV file, with an entry in the audit log that says who took how many and why."""

    name = "export"
    label = "Export"
    permission = "monitoring.export_views"
    icon = "download"
    on_one = False
    on_selection = True
    on_all = True
    once = False  # the page stays after the download
    form_class = ExportForm

    def effect(self, count: int) -> str:
        kept = f", the first {MOST_ROWS:,} of them" if count > MOST_ROWS else ""
        downloaded = "is downloaded" if count == 1 else "are downloaded"
        return f"{counted(count, 'row')}{kept} {downloaded} as CSV. The audit log keeps who did so and why."

    def carry_out(self, rows: QuerySet[Any], *, actor: str, reason: str, form: ReasonForm) -> str:
        options = rows.query.get_meta()
        columns = [str(field.column) for field in options.concrete_fields]
        table = options.db_table
        with acting_as(actor=actor, reason=reason), transaction.atomic():
            found = [
                [mask(value) if isinstance(value, str) else value for value in row]
                for row in rows.values_list(*(field.attname for field in options.concrete_fields))[:MOST_ROWS]
            ]
            record("export", table_name=table, reason=reason, new_values={"rows": len(found)})
        if isinstance(form, ExportForm):
            form.file = attachment(f"{table}-{timezone.now():%Y%m%d-%H%M}.csv", as_csv(columns, found))
        return f"{counted(len(found), 'row')} exported."

    def respond(self, request: HttpRequest, form: ReasonForm, back: str) -> HttpResponseBase:
        if isinstance(form, ExportForm) and form.file is not None:
            return form.file
        return super().respond(request, form, back)


EXPORT = Export()


class ViewChangeList(ChangeList):
    """A list whose only page is made of the rows that were read to count them."""

    def get_results(self, request: HttpRequest) -> None:
        super().get_results(request)
        if not self.multi_page and isinstance(self.paginator, SingleReadPaginator) and self.paginator.rows is not None:
            self.result_list = self.paginator.rows


class ViewAdmin(OperationsMixin, ReadOnlyModelAdmin):
    """A view as a page: searched, filtered, sorted, exported, each row linked to what it is about."""

    paginator: type[EstimatedPaginator] = SingleReadPaginator

    # What may be done about the rows, beside exporting them.
    fixes: ClassVar[tuple[Operation, ...]] = ()
    operations: ClassVar[Sequence[Operation]] = (EXPORT,)
    # Columns of the view that a row's page does not repeat: what the list shows says the same.
    repeated: ClassVar[tuple[str, ...]] = ()

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        cls.operations = (*cls.fixes, EXPORT)

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ViewChangeList]:
        return ViewChangeList

    def get_fields(self, request: HttpRequest, obj: Model | None = None) -> list[str]:
        """Every column of the view, rendered as in the list where the list has a way to."""
        shown = [name for name in self.get_list_display(request) if name != "action_checkbox"]
        rendered = {getattr(getattr(type(self), str(name), None), "admin_order_field", None) for name in shown}
        rendered |= {"id", "user", *self.repeated}
        columns = [
            field.name for field in self.opts.concrete_fields if field.name not in shown and field.name not in rendered
        ]
        return [*(str(name) for name in shown), *columns]

    def get_readonly_fields(self, request: HttpRequest, obj: Model | None = None) -> list[str]:
        return self.get_fields(request, obj)


def worst_first(column: str, *values: str) -> Case:
    """An order by what a status means and not by its spelling."""
    ranks = [When(**{column: value}, then=Value(rank)) for rank, value in enumerate(values)]
    return Case(*ranks, default=Value(len(values)), output_field=IntegerField())


def linked(path: str, model: str, *, to: str | None = None, description: str | None = None) -> Callable[..., str]:
    """A column whose text is the field at `path` and whose link is the admin page of `model`.

    `to` is the attribute that holds the key of that page, `path` itself unless given. A row about something that is not
    there any more has text and no link.
    """

    @admin.display(description=description or path.replace("_", " "), ordering=path)
    def show(self: Any, obj: Model) -> str:
        text, key = getattr(obj, path), getattr(obj, to or path)
        if key is None:
            return str(text) if text else EMPTY
        return format_html(
            '<a class="gf-link" href="{}">{}</a>', reverse(f"admin:{model}_change", args=[quote(key)]), text or key
        )

    return show


def customer(path: str = "email") -> Callable[..., str]:
    """A column with the customer's address that leads to the customer's page."""
    return linked(path, "billing_user", to="user_id", description="customer")


def rendered(
    path: str, render: Callable[[Any], Any], *, description: str | None = None, ordering: str | None = None
) -> Callable[..., Any]:
    """A sortable column of the field at `path`, rendered."""
    return column(path, render, description=description, ordering=ordering or path)
