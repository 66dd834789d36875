"""The inbox: what is wrong, since when, and who looks after it."""

from django.contrib import admin

from glyphforge.admin import ReadOnlyModelAdmin
from monitoring.models import Alert


@admin.register(Alert)
class AlertAdmin(ReadOnlyModelAdmin):
    list_display = ["message", "severity", "state", "fired_at"]
