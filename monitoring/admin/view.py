"""The base of the pages that show a view of the database."""

from collections.abc import Callable, Sequence
from typing import Any, ClassVar

from django.contrib import admin
from django.contrib.admin.utils import quote
from django.db.models import Case, IntegerField, Model, Value, When
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html

from glyphforge.admin.columns import EMPTY, column
from glyphforge.admin.export import Export
from glyphforge.admin.model_admin import ChangeList, ReadOnlyModelAdmin
from glyphforge.admin.operations import Operation, OperationsMixin
from glyphforge.admin.pagination import EstimatedPaginator, SingleReadPaginator


class ViewExport(Export):
    """The rows of a view as a file."""

    on_selection = True


EXPORT = ViewExport("monitoring.export_views")


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


def linked(
    path: str, model: str, *, to: str | None = None, description: str | None = None, kind: str = ""
) -> Callable[..., str]:
    """A column whose text is the field at `path` and whose link is the admin page of `model`.

    `to` is the attribute that holds the key of that page, `path` itself unless given; `kind` is one more class of the
    link. A row about something that is not there any more has text and no link.
    """

    @admin.display(description=description or path.replace("_", " "), ordering=path)
    def show(self: Any, obj: Model) -> str:
        text, key = getattr(obj, path), getattr(obj, to or path)
        if key is None:
            return str(text) if text else EMPTY
        url = reverse(f"admin:{model}_change", args=[quote(key)])
        return format_html('<a class="gf-link {}" href="{}" title="{}">{}</a>', kind, url, text or key, text or key)

    return show


def customer(path: str = "email") -> Callable[..., str]:
    """A column with the customer's address that leads to the customer's page."""
    return linked(path, "billing_user", to="user_id", description="customer", kind="gf-email")


def rendered(
    path: str, render: Callable[[Any], Any], *, description: str | None = None, ordering: str | None = None
) -> Callable[..., Any]:
    """A sortable column of the field at `path`, rendered."""
    return column(path, render, description=description, ordering=ordering or path)
