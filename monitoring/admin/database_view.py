"""The database server: sizes, connections and what runs for long."""

from django.contrib import admin
from django.template.defaultfilters import filesizeformat

from glyphforge.admin.columns import moment, number, percent
from glyphforge.audit.masking import mask
from monitoring.admin.view import ViewAdmin, rendered
from monitoring.models import DatabaseConnections, DatabaseSize, LongRunningQuery


@admin.register(DatabaseSize)
class DatabaseSizeAdmin(ViewAdmin):
    """Tables with their indexes and partitions."""

    total = rendered("total_bytes", filesizeformat, description="total")
    table = rendered("table_bytes", filesizeformat, description="table")
    indexes = rendered("index_bytes", filesizeformat, description="indexes")
    live = rendered("row_estimate", number, description="rows, estimated")
    dead = rendered("dead_rows", number, description="dead rows")
    vacuumed = rendered("last_vacuum_at", moment, description="last vacuum")
    list_display = ("table_name", "total", "table", "indexes", "live", "dead", "partitions", "vacuumed")
    ordering = ("-total_bytes",)
    search_fields = ("table_name__startswith",)
    search_help_text = "Table (its beginning)"


@admin.register(DatabaseConnections)
class DatabaseConnectionsAdmin(ViewAdmin):
    """How many connections are used; an empty column is one that this role may not see."""

    share = rendered("percent_used", percent, description="used")
    list_display = ("max_connections", "total", "share", "active", "idle", "idle_in_transaction")


@admin.register(LongRunningQuery)
class LongRunningQueryAdmin(ViewAdmin):
    """Sessions that have been busy, or idle in a transaction, for over a second."""

    list_display = (
        "pid",
        "username",
        "state",
        "duration_seconds",
        "wait_event",
        "blocked_by",
        "application_name",
        "statement",
    )
    repeated = ("query",)
    list_filter = ("state",)
    ordering = ("-duration_seconds",)
    nothing = "Nothing runs for over a second"
    search_fields = ("username__startswith", "query__icontains")
    search_help_text = "Role, or part of the statement"

    statement = rendered("query", mask, description="statement")
