"""What of the database's schema costs too much or is not as it should be: queries, indexes, differences."""

from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.template.defaultfilters import filesizeformat
from django.utils.html import format_html

from glyphforge.admin.columns import EMPTY, badge_column, moment, number, percent, preformatted
from glyphforge.admin.operations import Operation, ReasonForm, counted
from glyphforge.audit.masking import mask
from glyphforge.database.connection import maintenance_alias
from glyphforge.database.repair import KINDS, repair
from monitoring.admin.view import ViewAdmin, rendered
from monitoring.jobs import runner
from monitoring.models import IndexFinding, SchemaDifference, TopQuery


def shortened(text: str | None) -> str:
    """A statement in one line of a list, whole in its tooltip."""
    shown = mask(text or "")
    return format_html('<span class="gf-clip" title="{}">{}</span>', shown, shown) if shown else EMPTY


@admin.register(TopQuery)
class TopQueryAdmin(ViewAdmin):
    """The statements that take the most time."""

    beginning = rendered("query", shortened, description="statement")
    share = rendered("percent_of_time", percent, description="of all time")
    total = rendered("total_ms", lambda value: f"{number(round(value / 1000, 1))} s", description="total")
    mean = rendered("mean_ms", lambda value: f"{number(value)} ms", description="mean")
    runs = rendered("calls", number, description="runs")
    returned = rendered("rows_returned", number, description="rows")
    list_display = ("beginning", "share", "total", "mean", "runs", "returned", "username")
    ordering = ("-total_ms",)
    nothing = (
        "Nothing is counted. To have statements counted add pg_stat_statements to shared_preload_libraries, restart"
        " PostgreSQL, and run CREATE EXTENSION pg_stat_statements in this database."
    )
    search_fields = ("query__icontains", "username__startswith")
    search_help_text = "Part of the statement, or role"


@admin.register(IndexFinding)
class IndexFindingAdmin(ViewAdmin):
    """Indexes that nobody reads or that another one makes superfluous."""

    what = badge_column("problem", IndexFinding.Problem, description="problem", ordering="problem")
    size = rendered("bytes", filesizeformat, description="size")
    reads = rendered("scans", number, description="reads")
    list_display = ("index_name", "table_name", "what", "detail", "size", "reads")
    list_filter = ("problem",)
    ordering = ("-bytes",)
    nothing = "Every index is read, and none makes another superfluous"
    search_fields = ("index_name__startswith", "table_name__startswith")
    search_help_text = "Index or table (its beginning)"


class Repair(Operation):
    """Makes indexes, triggers, functions and views what the definitions say."""

    name, label, icon = "repair", "Repair", "build"
    permission = "monitoring.repair_schemadifference"
    on_selection = True
    when = {"kind": KINDS, "problem": (SchemaDifference.Problem.MISSING, SchemaDifference.Problem.DIFFERENT)}

    def effect(self, count: int) -> str:
        return (
            f"Makes {counted(count, 'object')} anew as the definitions say, then compares the database again. What is"
            " extra, and what holds rows, is left to a person: manage.py database verify --sql."
        )

    def carry_out(self, rows: QuerySet[Any], *, actor: str, reason: str, form: ReasonForm) -> str:
        names = set(rows.values_list("kind", "name"))
        repaired = repair(names, alias=maintenance_alias(), actor=actor, reason=reason)
        compared = runner.run_by_hand("verify", trigger=f"admin ({actor})")
        return f"{counted(repaired, 'difference')} repaired. Compared again: {compared.message}."


@admin.register(SchemaDifference)
class SchemaDifferenceAdmin(ViewAdmin):
    """What the nightly comparison with the definitions found, and what mends it."""

    what = badge_column("problem", SchemaDifference.Problem, description="problem", ordering="problem")
    differs = rendered("detail", lambda text: text or EMPTY, description="what differs")
    found = rendered("found_at", moment, description="found")
    mends = rendered("sql", lambda text: preformatted(text) if text else EMPTY, description="statements that mend it")
    fixes = (Repair(),)
    list_display = ("name", "kind", "what", "differs", "found")
    list_filter = ("problem", "kind")
    ordering = ("kind", "name")
    repeated = ("problem", "detail", "found_at", "sql")
    nothing = "The database is what the definitions say"
    search_fields = ("name__icontains",)
    search_help_text = "Part of the name"

    def get_fields(self, request: HttpRequest, obj: Any = None) -> list[str]:
        return [*super().get_fields(request, obj), "mends"]
