"""The inbox: what is wrong, since when, and who acknowledged it."""

from typing import Any
from urllib.parse import quote

from django.contrib import admin
from django.contrib.admin import SimpleListFilter
from django.core.exceptions import ValidationError
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils import timezone
from django.utils.html import format_html

from billing.admin.customer_link import as_of_link
from billing.admin.quota_operations import GrantExtraQuota
from billing.models import Subscription, User
from glyphforge.admin.columns import EMPTY, badge_column, copyable_column, moment, moment_column
from glyphforge.admin.model_admin import ReadOnlyModelAdmin
from glyphforge.admin.operations import OperationsMixin, offers_on
from monitoring.admin import runbook
from monitoring.admin.alert_operations import OPERATIONS
from monitoring.admin.known_values import CheckFilter
from monitoring.admin.notification_operations import SendTest
from monitoring.admin.view import worst_first
from monitoring.models import Alert, Notification
from monitoring.notifications import links

# The operation on the customer that an alert is answered by.
DONE_AT_ONCE = {"users_near_limit": GrantExtraQuota.name}


class StateFilter(SimpleListFilter):
    """Without a choice the inbox: what is open."""

    title = "state"
    parameter_name = "state"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("all", "All"), *((state.value, str(state.label)) for state in Alert.State)]

    def choices(self, changelist: Any) -> Any:
        choices = super().choices(changelist)
        yield next(choices) | {"display": "Open"}
        yield from choices

    def queryset(self, request: HttpRequest, queryset: QuerySet[Alert]) -> QuerySet[Alert]:
        if self.value() == "all":
            return queryset
        return queryset.filter(state=self.value()) if self.value() else queryset.filter(state__in=Alert.OPEN)


def _offers_of_customer(request: HttpRequest, alert: Alert) -> list[dict[str, Any]]:
    """What may be done at once to the customer whom the alert is about, and leads back to it."""
    if alert.alert_type not in DONE_AT_ONCE or alert.object_type != "user" or alert.object_id is None:
        return []
    try:
        user = User.objects.filter(pk=alert.object_id).first()
    except ValidationError:
        return []
    if user is None:
        return []
    return [
        offer | {"url": f"{offer['url']}?next={quote(request.path)}"}
        for offer in offers_on(request, user, DONE_AT_ONCE[alert.alert_type])
    ]


@admin.register(Alert)
class AlertAdmin(OperationsMixin, ReadOnlyModelAdmin):
    """Alerts: the worst of those that nobody acknowledged first."""

    operations = OPERATIONS

    severity_badge = badge_column("severity", Alert.Severity, description="severity")
    state_badge = badge_column("state", Alert.State, description="state")
    fired = moment_column("fired_at", description="since", ordering="fired_at")
    first_seen = moment_column("first_seen_at", description="first seen")
    last_seen = moment_column("last_seen_at", description="last seen")
    notified = moment_column("notified_at", description="last message")
    acknowledged = moment_column("acknowledged_at", description="acknowledged")
    snoozed = moment_column("snoozed_until", description="snoozed until")
    resolved = moment_column("resolved_at", description="resolved")
    key = copyable_column("fingerprint", description="fingerprint")

    list_display = ("subject", "severity_badge", "state_badge", "what", "about", "quiet", "fired", "responsible")
    list_filter = (StateFilter, "severity", ("alert_type", CheckFilter))
    list_filter_submit = False
    sortable_by = ("fired",)
    nothing = "Nothing needs attention"
    search_fields = ("subject__istartswith", "fingerprint__startswith")
    search_help_text = "A subject or fingerprint (its beginning)"
    fieldsets = (
        (
            None,
            {
                "fields": (
                    "subject",
                    "severity_badge",
                    "state_badge",
                    "message",
                    "remediation",
                    "about",
                    "as_of",
                    "follows",
                    "quiet",
                )
            },
        ),
        ("Runbook", {"fields": ("what_to_do",)}),
        ("Acknowledged or snoozed", {"fields": ("responsible", "note", "acknowledged", "snoozed")}),
        ("Times", {"fields": ("first_seen", "fired", "last_seen", "notified", "resolved")}),
        ("Messages", {"fields": ("messages",)}),
        ("Ids", {"fields": ("key",)}),
    )
    readonly_fields = (
        "severity_badge", "state_badge", "fired", "first_seen", "last_seen", "notified", "acknowledged", "snoozed",
        "resolved", "responsible", "about", "as_of", "follows", "quiet", "messages", "key", "what_to_do",
    )  # fmt: skip

    def get_ordering(self, request: HttpRequest) -> tuple[Any, ...]:
        if request.GET.get(StateFilter.parameter_name):
            return ("-fired_at",)  # the past is long, and read by time
        return (
            worst_first("state", Alert.State.FIRING).asc(),
            worst_first("severity", *Alert.Severity.values).asc(),
            "-fired_at",
            "-first_seen_at",
        )

    def offers(self, request: HttpRequest, row: Any) -> list[dict[str, Any]]:
        """Beside what is done to the alert itself, extra quota for who comes near the limit."""
        return [*super().offers(request, row), *_offers_of_customer(request, row)]

    @admin.display(description="what")
    def what(self, alert: Alert) -> str:
        return format_html('<span class="gf-clip" title="{}">{}</span>', alert.message, alert.message)

    @admin.display(description="acknowledged or snoozed by")
    def responsible(self, alert: Alert) -> str:
        name = alert.acknowledged_by or alert.snoozed_by
        if not name:
            return EMPTY
        return format_html('<span title="{}">{}</span>', alert.note, name)

    @admin.display(description="fix")
    def about(self, alert: Alert) -> str:
        named = alert.object_type if alert.object_id and alert.object_type else "Show"
        kind = {"user": "Customer"}.get(named, named.replace("_", " ").capitalize())
        return format_html('<a class="gf-link gf-nowrap" href="{}">{}</a>', links.fix(alert), kind)

    @admin.display(description="the customer")
    def as_of(self, alert: Alert) -> str:
        """Of an alert about a customer, or a customer's subscription."""
        owner: Any = alert.object_id if alert.object_type == "user" else None
        if alert.object_type == "subscription" and alert.object_id:
            owner = Subscription.objects.filter(pk=alert.object_id).values_list("user_id", flat=True).first()
        return as_of_link(owner, alert.first_seen_at) if owner else EMPTY

    @admin.display(description="what it means, and what to do")
    def what_to_do(self, alert: Alert) -> str:
        return runbook.shown(alert)

    @admin.display(description="what follows from it")
    def follows(self, alert: Alert) -> str:
        return ", ".join(name.replace("_", " ") for name in alert.consequences) or EMPTY

    @admin.display(description="sends no message")
    def quiet(self, alert: Alert) -> str:
        if alert.silenced_until and alert.silenced_until > timezone.now():
            return f"Silenced until {alert.silenced_until:%Y-%m-%d %H:%M} UTC"
        return f"Follows from {alert.muted_by}" if alert.muted_by else EMPTY

    @admin.display(description="messages")
    def messages(self, alert: Alert) -> str:
        rows = [
            format_html(
                "<li>{} {} {}{}</li>",
                moment(row.sent_at or row.created_at),
                row,
                Notification.Status(row.status).label.lower(),
                f", {row.attempts} attempts: {row.last_error}" if row.last_error else "",
            )
            for row in alert.notifications.order_by("-id")[:20]
        ]
        return format_html("<ul>{}</ul>", format_html("{}" * len(rows), *rows)) if rows else EMPTY


@admin.register(Notification)
class NotificationAdmin(OperationsMixin, ReadOnlyModelAdmin):
    """What went out, what waits, and what could not be delivered."""

    operations = (SendTest(),)

    delivery = badge_column("status", Notification.Status, description="status")
    created = moment_column("created_at", description="queued")
    sent = moment_column("sent_at", description="sent")
    next_attempt = moment_column("next_attempt_at", description="next attempt")
    list_display = ("id", "channel", "kind", "message", "delivery", "attempts", "created", "sent")
    list_filter = ("status", "kind")
    sortable_by = ()
    ordering = ("-id",)
    fields = (
        "channel", "kind", "alert", "report_on", "message", "delivery", "attempts", "last_error", "created",
        "next_attempt", "sent",
    )  # fmt: skip
    readonly_fields = ("delivery", "created", "sent", "next_attempt")
