"""The audit log's page: newest first, filtered by table, searched by exact row id or actor."""

import json
from typing import Any

from django.apps import apps
from django.contrib import admin
from django.contrib.admin.utils import quote
from django.db.models import Q, QuerySet
from django.http import HttpRequest
from django.urls import reverse

from glyphforge.admin.columns import EMPTY, column, copyable, copyable_column, moment_column, preformatted
from glyphforge.admin.export import Export
from glyphforge.admin.keyset import KeysetModelAdmin
from glyphforge.admin.operations import OperationsMixin
from glyphforge.audit.models import AuditEntry


def pages() -> dict[str, str]:
    """The admin page where each audited table's rows are shown: table to URL name, as the apps' `audit_pages` say."""
    said = (getattr(config, "audit_pages", {}) for config in apps.get_app_configs())
    return {table: page for pages in said for table, page in pages.items()}


def changes(entry: AuditEntry) -> list[tuple[str, str, str]]:
    """What changed: `(column, before, after)`, in the order of the columns' names.

    The values are text, other JSON than text as JSON is written; a dash stands for NULL and for the side that an insert
    or a delete does not have.
    """
    old, new = entry.old_values or {}, entry.new_values or {}
    return [(name, _shown(old.get(name)), _shown(new.get(name))) for name in sorted(old.keys() | new.keys())]


def page_of(entry: AuditEntry) -> str | None:
    """The address of the row that was changed, or of the list searched for it.

    None for a deleted row, for an entry without a row id and for a table that no app names a page of.
    """
    page = pages().get(entry.table_name)
    if page is None or not entry.row_id or entry.action == "delete":
        return None
    if page.endswith("_changelist"):
        return reverse(page, query={"q": entry.row_id})
    return reverse(page, args=[quote(entry.row_id)])


def _shown(value: Any) -> str:
    if value is None:
        return EMPTY
    return value if isinstance(value, str) else json.dumps(value)


class TableFilter(admin.SimpleListFilter):
    """The table that was changed."""

    title = "table"
    parameter_name = "table_name"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        """The tables that have a page, with their names in words."""
        return [(name, name.replace("_", " ")) for name in pages()]

    def queryset(self, request: HttpRequest, queryset: QuerySet[AuditEntry]) -> QuerySet[AuditEntry]:
        """The entries of the chosen table, found by the index `audit_log_table`; all without a choice."""
        return queryset.filter(table_name=self.value()) if self.value() else queryset


@admin.register(AuditEntry)
class AuditEntryAdmin(OperationsMixin, KeysetModelAdmin):
    """Who changed what, when and why. Nobody can change it, here or in the database."""

    operations = (Export("audit.export_auditentry"),)
    when = moment_column("occurred_at", description="when")
    table = column("table_name", str, description="table")
    origin = copyable_column("request_id", description="request")

    kind = column("actor_kind", lambda kind: kind or EMPTY, description="kind of actor")
    role = column("db_role", lambda role: role or EMPTY, description="database role")

    list_display = ("when", "actor", "action", "table", "row", "summary", "reason")
    list_filter = (TableFilter,)
    keyset = ("occurred_at", "id")
    search_fields = ("row_id",)
    search_help_text = "A row's id or an actor, exactly"
    fieldsets = (
        (None, {"fields": ("when", "actor", "kind", "action", "reason")}),
        ("What", {"fields": ("table", "row", "before_and_after")}),
        ("Origin", {"fields": ("origin", "role", "id")}),
    )
    readonly_fields = ("when", "kind", "role", "table", "row", "before_and_after", "origin")

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        """The entries whose row id or actor is the term, exactly, so that an index answers.

        False beside them: no entry can be found twice.
        """
        term = search_term.strip()
        if not term:
            return queryset, False
        # The index on rows begins with the table.
        return queryset.filter(Q(table_name__in=list(pages()), row_id=term) | Q(actor=term)), False

    @admin.display(description="row")
    def row(self, obj: AuditEntry) -> str:
        """The row's id, with a link where the row has a page."""
        return copyable(obj.row_id, page_of(obj))

    @admin.display(description="changed")
    def summary(self, obj: AuditEntry) -> str:
        """The first three columns that changed and the number of the others; of an insert only that it was one."""
        if obj.action == "insert":
            return "a new row"
        names = [name for name, _, _ in changes(obj)]
        shown = ", ".join(names[:3])
        return f"{shown} and {len(names) - 3} more" if len(names) > 3 else shown or EMPTY

    @admin.display(description="before and after")
    def before_and_after(self, obj: AuditEntry) -> str:
        """Every column that changed, each in a line of its own."""
        lines = "\n".join(f"{name}: {before} → {after}" for name, before, after in changes(obj))
        return preformatted(lines or "nothing")
