"""Addresses in the back office: where an alert is looked after, and where what it is about is seen and fixed."""

from django.conf import settings
from django.contrib.admin.utils import quote
from django.http import QueryDict
from django.urls import reverse

from monitoring.models import Alert
from monitoring.models.health import CurrentAlertColumns

# The page that lists what a check counts, or where the job behind it is run.
LISTED_ON = {
    "stale_subscriptions": "monitoring_stalesubscription",
    "orphaned_stripe_customers": "monitoring_orphanedstripecustomer",
    "duplicate_subscriptions": "billing_subscription?is_duplicate__exact=1",
    "unclaimed_prices": "billing_planprice",
    "paid_users_without_keys": "monitoring_paiduserwithoutkey",
    "users_near_limit": "monitoring_usernearlimit",
    "failed_webhooks": "monitoring_failedwebhookevent",
    "dead_webhooks": "monitoring_failedwebhookevent",
    "waiting_events": "monitoring_failedwebhookevent",
    "webhook_delay": "billing_webhookevent",
    "unsettled_stripe_requests": "billing_striperequest?state__exact=unknown",
    "unmatched_stripe_customers": "billing_unmatchedcustomer",
    "unrepaired_differences": "billing_difference?status__exact=open",
    "error_rate": "monitoring_repeatedfailure",
    "connections": "monitoring_databasesession",
    "blocked_sessions": "monitoring_databasesession",
    "idle_in_transaction": "monitoring_databasesession",
    "long_running_queries": "monitoring_longrunningquery",
    "dead_rows": "monitoring_databasesize",
    "partitions_ahead": "monitoring_jobschedule",
    "default_partition_rows": "monitoring_jobschedule",
    "unfolded_usage": "monitoring_jobschedule",
    "unfolded_traffic": "monitoring_jobschedule",
    "queue_age": "monitoring_workerheartbeat",
    "authentication_failures": "web_authenticationfailure",
    "overdue_jobs": "monitoring_jobschedule",
    "failed_jobs": "monitoring_jobschedule",
    "backup_age": "database_backuprun",
    "restore_drill_age": "database_backuprun",
    "failed_backups": "database_backuprun",
    "drift": "monitoring_schemadifference",
    "disabled_triggers": "monitoring_schemadifference",
    "invalid_indexes": "monitoring_schemadifference",
    "worker_silence": "monitoring_workerheartbeat",
    "unmeasured_checks": "monitoring_systemhealth",
    "role_connections": "monitoring_databaseconnections",
    "failures_in_a_row": "monitoring_jobschedule",
    "switched_off_jobs": "monitoring_jobschedule",
    "other_mode_events": "billing_webhookevent",
}
# Not everybody whom an alert reaches may open these: what other sessions run may hold customers' data.
NOT_FOR_EVERYBODY = {"monitoring_longrunningquery", "monitoring_databasesession"}
# The page of the object that an alert names.
OBJECT_PAGES = {
    "user": "billing_user",
    "subscription": "billing_subscription",
    "job": "monitoring_jobschedule",
    "unmatched_customer": "billing_unmatchedcustomer",
}


def absolute(path: str) -> str:
    """An address that works outside the back office, of a path inside it; made with `BACKOFFICE_URL`."""
    return f"{settings.BACKOFFICE_URL}{path}"


def dashboard() -> str:
    """The path of the admin's start page."""
    return reverse("admin:index")


def inbox() -> str:
    """The path of the list of alerts."""
    return reverse("admin:monitoring_alert_changelist")


def page(alert: Alert) -> str:
    """The path of the page of one alert, where it is acknowledged or snoozed."""
    return reverse("admin:monitoring_alert_change", args=[alert.pk])


def counted(check: str) -> str | None:
    """The path of the list of what a check counts; None where nothing is listed."""
    page, _, query = LISTED_ON.get(check, "").partition("?")
    return reverse(f"admin:{page}_changelist", query=QueryDict(query)) if page else None


def fix(alert: Alert | CurrentAlertColumns) -> str:
    """The path where what the alert is about can be seen and fixed.

    That is the page of the object that it names, or the list of what its check counts, or the check itself.
    All whom alerts reach may open it.
    """
    if alert.object_id and alert.object_type == "webhook_event":  # named by Stripe's id, which the list finds
        return reverse("admin:billing_webhookevent_changelist", query={"q": alert.object_id})
    if alert.object_id and alert.object_type in OBJECT_PAGES:
        return reverse(f"admin:{OBJECT_PAGES[alert.object_type]}_change", args=[quote(alert.object_id)])
    if alert.object_id and alert.object_type == "webhook_cause":
        return reverse("admin:monitoring_failedwebhookevent_changelist", query={"cause": alert.object_id})
    check = alert.alert_type
    path = None if LISTED_ON.get(check) in NOT_FOR_EVERYBODY else counted(check)
    return path or reverse("admin:monitoring_systemhealth_change", args=[quote(check)])
