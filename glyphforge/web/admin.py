"""The page of failed authentication."""

from django.contrib import admin

from glyphforge.admin.columns import badge_column, moment_column
from glyphforge.admin.model_admin import ReadOnlyModelAdmin
from glyphforge.web.models import AuthenticationFailure


@admin.register(AuthenticationFailure)
class AuthenticationFailureAdmin(ReadOnlyModelAdmin):
    """Who failed to prove an identity: wrong keys, service tokens, passwords and codes, by source and ten minutes."""

    proof = badge_column("kind", AuthenticationFailure.Kind, description="what was wrong")
    started = moment_column("window_start", description="ten minutes from", ordering="window_start")
    latest = moment_column("last_failure_at", description="last")

    list_display = ("started", "proof", "source", "failures", "last_subject", "latest")
    list_filter = ("kind",)
    ordering = ("-window_start", "-id")
    sortable_by = ("started",)
    search_fields = ("source__startswith",)
    search_help_text = "The beginning of an address"
    fieldsets = ((None, {"fields": ("started", "proof", "source", "failures", "last_subject", "latest")}),)
    readonly_fields = ("started", "proof", "latest")
