"""The system's health, its thresholds and what is wrong now."""

from decimal import Decimal
from typing import Any

from django import forms
from django.contrib import admin
from django.contrib.admin.utils import unquote
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.html import format_html
from unfold.widgets import UnfoldAdminTextareaWidget

from glyphforge.admin.columns import EMPTY, badge, badge_column, moment, yes_no_column
from glyphforge.admin.model_admin import ModelAdmin
from glyphforge.admin.operations import actor_of
from glyphforge.admin.reason import ReasonField
from glyphforge.choices import Tone
from glyphforge.database.rehearsal import rehearse
from monitoring.admin.known_values import CheckFilter
from monitoring.admin.view import ViewAdmin, rendered, worst_first
from monitoring.alerts import thresholds
from monitoring.models import Alert, CriticalAlert, CurrentAlert, HealthCheck, SystemHealth
from monitoring.notifications import links


@admin.register(SystemHealth)
class SystemHealthAdmin(ViewAdmin):
    """Every check, the worst first."""

    state = badge_column("status", SystemHealth.Status, description="status")
    list_display = ("title", "state", "measured", "thresholds", "message", "remediation", "listed")
    repeated = ("status", "warning_at", "critical_at", "unit", "lower_is_worse", "not_measured")
    list_filter = ("status",)
    search_fields = ("title__icontains", "check_name__icontains")
    search_help_text = "Check"

    def get_queryset(self, request: HttpRequest) -> QuerySet[SystemHealth]:
        queryset: QuerySet[SystemHealth] = super().get_queryset(request)
        return queryset.order_by(worst_first("status", "critical", "warning", "unknown", "ok"), "title")

    @admin.display(description="value", ordering="value")
    def measured(self, obj: SystemHealth) -> str:
        if obj.value is None:
            return EMPTY
        unit = {"indexes": "index"}.get(obj.unit, obj.unit.removesuffix("s")) if obj.value == 1 else obj.unit
        return f"{round(obj.value, 2).normalize():,f} {unit}"

    @admin.display(description="limits")
    def thresholds(self, obj: SystemHealth) -> str:
        side = "below" if obj.lower_is_worse else "above"
        levels = [
            f"{name} {side} {level.normalize():,f}"
            for name, level in (("warns", obj.warning_at), ("critical", obj.critical_at))
            if level is not None
        ]
        address = reverse("admin:monitoring_healthcheck_change", args=[obj.pk])
        return format_html('<a class="gf-link" href="{}">{}</a>', address, ", ".join(levels) or "never")

    @admin.display(description="rows")
    def listed(self, obj: SystemHealth) -> str:
        url = links.counted(obj.check_name)
        return format_html('<a class="gf-link" href="{}">Show</a>', url) if url else EMPTY


class HealthCheckForm(forms.ModelForm):
    """New thresholds, and why."""

    reason = ReasonField(widget=UnfoldAdminTextareaWidget(attrs={"rows": 2}), help_text="Goes into the audit log.")

    class Meta:
        model = HealthCheck
        fields = ("warning_at", "critical_at", "is_enabled")

    def clean(self) -> dict[str, Any]:
        cleaned: dict[str, Any] = super().clean() or self.cleaned_data
        given = {name: value for name, value in cleaned.items() if name != "reason"}
        check = HealthCheck(lower_is_worse=self.instance.lower_is_worse, **given)
        for name, problem in thresholds.problems(check).items():
            self.add_error(name, problem)
        return cleaned


@admin.register(HealthCheck)
class HealthCheckAdmin(ModelAdmin):
    """From where on each check warns. Checks come with the software: they are changed or disabled, never added."""

    form = HealthCheckForm
    change_form_outer_after_template = "monitoring/rehearse_thresholds.html"
    changed = rendered("updated_at", moment, description="changed")
    list_display = ("title", "check_name", "warns", "critical", "state", "changed")
    list_filter = ("is_enabled",)
    search_fields = ("title__icontains", "check_name__icontains")
    search_help_text = "Check"
    ordering = ("title",)
    fields = (
        "title",
        "check_name",
        "warning_at",
        "critical_at",
        "unit",
        "lower_is_bad",
        "is_enabled",
        "remediation",
        "changed",
        "reason",
    )
    lower_is_bad = yes_no_column("lower_is_worse", description="lower is worse")
    readonly_fields = ("title", "check_name", "unit", "lower_is_bad", "remediation", "changed")

    @admin.display(description="warns", ordering="warning_at")
    def warns(self, obj: HealthCheck) -> str:
        return self._beyond(obj, obj.warning_at)

    @admin.display(description="critical", ordering="critical_at")
    def critical(self, obj: HealthCheck) -> str:
        return self._beyond(obj, obj.critical_at)

    @admin.display(description="state", ordering="is_enabled")
    def state(self, obj: HealthCheck) -> str:
        return badge("Enabled", Tone.SUCCESS) if obj.is_enabled else badge("Disabled", Tone.NEUTRAL)

    @staticmethod
    def _beyond(obj: HealthCheck, level: Decimal | None) -> str:
        if level is None:
            return "never"
        return f"{'below' if obj.lower_is_worse else 'above'} {level.normalize():,f} {obj.unit}"

    def get_fields(self, request: HttpRequest, obj: HealthCheck | None = None) -> list[str]:
        names = list(self.fields or ())
        return names if self.has_change_permission(request, obj) else [name for name in names if name != "reason"]

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: HealthCheck | None = None) -> bool:
        return False

    def save_model(self, request: HttpRequest, obj: HealthCheck, form: Any, change: bool) -> None:
        changed = [name for name in form.changed_data if name != "reason"]
        if changed:
            thresholds.change(obj, changed, actor=actor_of(request), reason=form.cleaned_data["reason"])

    def changeform_view(
        self,
        request: HttpRequest,
        object_id: str | None = None,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        """With *Rehearse* nothing is saved: what the thresholds would raise is shown, and how to save them."""
        rehearsed = request.method == "POST" and "_rehearse" in request.POST
        if rehearsed and (obj := self.get_object(request, unquote(object_id or ""))):
            if not self.has_change_permission(request, obj):
                raise PermissionDenied
            form = self.get_form(request, obj, change=True)(request.POST, instance=obj)
            if form.is_valid():
                found = rehearse(lambda: self.save_model(request, form.instance, form, change=True))
                context = {
                    **self.admin_site.each_context(request),
                    "title": "Rehearsal",
                    "opts": self.opts,
                    "original": obj,
                    "rehearsal": found,
                    "sent": [(name, value) for name, value in request.POST.items() if not name.startswith("_")],
                    "back": request.path,
                }
                request.current_app = self.admin_site.name
                return TemplateResponse(request, "monitoring/rehearsed_thresholds.html", context)
        response: HttpResponse = super().changeform_view(request, object_id, form_url, extra_context)
        return response


class CurrentAlertAdmin(ViewAdmin):
    """What is wrong at this moment; the inbox of alerts has its history and who acknowledged it."""

    level = badge_column("severity", Alert.Severity, description="severity")
    since = rendered("detected_at", moment, description="since")
    rule = rendered("alert_type", lambda name: name.replace("_", " ").capitalize(), description="check")
    list_display = ("rule", "level", "about", "message", "remediation", "since")
    repeated = ("severity", "value", "object_type", "object_id", "objects_named", "consequences")
    list_filter = ("severity", ("alert_type", CheckFilter))
    nothing = "Nothing is wrong"
    search_fields = ("subject__istartswith", "object_id__exact")
    search_help_text = "E-mail, or the id of what it is about"

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        queryset: QuerySet[Any] = super().get_queryset(request)
        return queryset.order_by(worst_first("severity", *Alert.Severity.values), "detected_at", "fingerprint")

    @admin.display(description="about", ordering="subject")
    def about(self, obj: CurrentAlert) -> str:
        return format_html('<a class="gf-link" href="{}">{}</a>', links.fix(obj), obj.subject)


admin.site.register((CurrentAlert, CriticalAlert), CurrentAlertAdmin)
