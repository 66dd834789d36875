"""Addresses in the back office, for people who read about an alert elsewhere."""

from django.conf import settings
from django.urls import reverse

from monitoring.models import Alert


def absolute(path: str) -> str:
    """An address that works outside the back office."""
    return f"{settings.BACKOFFICE_URL}{path}"


def dashboard() -> str:
    return reverse("admin:index")


def inbox() -> str:
    return reverse("admin:monitoring_alert_changelist")


def page(alert: Alert) -> str:
    return reverse("admin:monitoring_alert_change", args=[alert.pk])


def fix(alert: Alert) -> str:
    """Where the thing can be fixed; for the system as a whole the page of its health."""
    if not alert.object_id:
        return reverse("admin:monitoring_systemhealth_changelist")
    if alert.object_type == "user":
        return reverse("admin:billing_user_change", args=[alert.object_id])
    if alert.object_type == "subscription":
        return reverse("admin:billing_subscription_change", args=[alert.object_id])
    if alert.object_type == "webhook_event":
        return f"{reverse('admin:billing_webhookevent_changelist')}?q={alert.object_id}"
    if alert.object_type == "job":
        return reverse("admin:monitoring_jobschedule_change", args=[alert.object_id])
    return page(alert)
