"""Faults and their cures, as SQL: what breaks, which check must say so, which alert must name it."""

from collections.abc import Callable
from dataclasses import dataclass
from uuid import UUID

from django.contrib.auth import get_user_model

from monitoring.jobs import runner
from tests.support import factories
from tests.support.sql import SQL, ago, insert, query, scalar

Cure = Callable[[], object]
# Whose alerts name a cause instead of an object.
GROUPED = {"failed_webhooks", "failed_jobs", "overdue_jobs", "unmatched_stripe_customers", "waiting_events"}


@dataclass(frozen=True)
class Fault:
    """`inject` returns how to repair it and the object that the alert must name, None for the system as a whole."""

    name: str
    check: str
    status: str
    inject: Callable[[], tuple[Cure, object]]
    alert_type: str | None = None  # where it is not the check
    severity: str | None = None  # where it is not the status

    @property
    def alerts_as(self) -> str:
        return self.alert_type or self.check

    def fingerprint(self, broken: object) -> str:
        """Of the alert about the object `broken`."""
        if self.alerts_as in GROUPED:
            return str(scalar("SELECT fingerprint FROM v_alerts WHERE alert_type = %s", self.alerts_as))
        return f"{self.alerts_as}:{broken}" if broken else self.check


def nothing_wrong() -> None:
    """A worker lives, and neither the template's schedules nor what other tests left in the statistics is seen."""
    query("DELETE FROM job_schedules")
    query("UPDATE health_checks SET is_enabled = false WHERE check_name = 'dead_rows'")
    factories.worker()


def _run(sql: str, *parameters: object) -> Cure:
    return lambda: query(sql, *parameters)


def _expired_subscription(days: int) -> tuple[Cure, UUID]:
    subscription = factories.subscription(current_period_end=ago(f"{days} days 1 minute")).pk
    return _run("UPDATE subscriptions SET current_period_end = now() + interval '1 day'"), subscription


def _failing_event(status: str, attempts: int) -> tuple[Cure, str]:
    event = factories.webhook_event(status=status, attempts=attempts, next_retry_at=ago("-1 hour"))
    return _run("UPDATE stripe_webhook_events SET status = 'processed'"), event.stripe_event_id


def _waiting_event() -> tuple[Cure, None]:
    factories.webhook_event(status="pending", received_at=ago("16 minutes"))
    return _run("UPDATE stripe_webhook_events SET status = 'processed'"), None


def _abandoned_event() -> tuple[Cure, None]:
    factories.webhook_event(status="processing", processing_started_at=ago("20 minutes"))
    return _run("UPDATE stripe_webhook_events SET status = 'processed'"), None


def _error_burst() -> tuple[Cure, UUID]:
    user = factories.customer().pk
    factories.requests(user, 51, status_code=500)
    return _run("DELETE FROM api_usage WHERE user_id = %s", user), user


def _near_limit() -> tuple[Cure, UUID]:
    user = factories.customer().pk
    factories.requests(user, 81)
    return _run("UPDATE subscriptions SET monthly_request_limit = 1000 WHERE user_id = %s", user), user


def _orphans() -> tuple[Cure, None]:
    for number in range(11):
        user = factories.customer(stripe_customer_id=f"cus_{number}").pk
        query("UPDATE subscriptions SET status = 'canceled' WHERE user_id = %s", user)
    return _run("SELECT * FROM fix_orphaned_stripe_customers()"), None


def _duplicate() -> tuple[Cure, UUID]:
    user = factories.subscription().user_id
    factories.api_key(user)
    duplicate = factories.subscription(user, is_duplicate=True).pk
    return _run("UPDATE subscriptions SET status = 'canceled' WHERE id = %s", duplicate), user


def _overdue() -> tuple[Cure, None]:
    factories.open_invoice()
    return _run("DELETE FROM open_invoices"), None


def _unclaimed_price() -> tuple[Cure, str]:
    insert("stripe_catalogue", stripe_id="price_old")
    user = factories.subscription(stripe_price_id="price_old").user_id
    factories.api_key(user)
    return _run("INSERT INTO plan_prices (stripe_price_id, tier) VALUES ('price_old', 'starter')"), "price_old"


def _guessing(times: int) -> tuple[Cure, None]:
    insert(
        "authentication_failures", kind="api_key", source="203.0.113.9", window_start=ago("1 minute"), failures=times
    )
    return _run("DELETE FROM authentication_failures"), None


def _second_superuser() -> tuple[Cure, None]:
    get_user_model().objects.create_superuser("mallory")
    return a_day_later, None


def a_day_later() -> None:
    """Let the changes of accounts have happened the day before."""
    query(
        "SET LOCAL session_replication_role = replica;"
        " UPDATE audit_log SET occurred_at = occurred_at - interval '25 hours' WHERE table_name ~ '^(auth|mfa)_';"
        " SET LOCAL session_replication_role = origin"
    )


def _unsettled_request() -> tuple[Cure, None]:
    factories.stripe_request(asked_at=ago("61 minutes"))
    return _run("UPDATE stripe_requests SET state = 'refused', settled_at = now()"), None


def _unmatched_customer() -> tuple[Cure, None]:
    insert("unmatched_stripe_customers", stripe_customer_id="cus_nobody", reason="no customer")
    return _run("DELETE FROM unmatched_stripe_customers"), None


def _unmapped_price() -> tuple[Cure, None]:
    factories.webhook_event(waits_for=["price_new"], next_retry_at=ago("-1 day"))
    return _run("UPDATE stripe_webhook_events SET status = 'processed'"), None


def _missing_partition() -> tuple[Cure, None]:
    (row,) = query(
        "SELECT partition::text FROM monthly_partitions('api_usage') WHERE opens > now() ORDER BY opens LIMIT 1"
    )
    query(f"DROP TABLE {row['partition']}")
    return _run("SELECT create_api_usage_partitions()"), None


def _row_without_partition() -> tuple[Cure, None]:
    factories.requests(factories.customer(), 1, created_at=ago("-300 days"))
    return _run("SELECT create_api_usage_partitions()"), None


def _disabled_trigger() -> tuple[Cure, None]:
    query("ALTER TABLE api_usage DISABLE TRIGGER count_usage")
    return _run("ALTER TABLE api_usage ENABLE TRIGGER count_usage"), None


def _uncounted_partition() -> tuple[Cure, None]:
    query("DROP TRIGGER count_usage ON api_usage_default")
    return _run(
        "CREATE TRIGGER count_usage AFTER INSERT ON api_usage_default REFERENCING NEW TABLE AS new_requests"
        " FOR EACH STATEMENT EXECUTE FUNCTION count_api_usage()"
    ), None


def _old_task() -> tuple[Cure, None]:
    insert("django_q_ormq", key="glyphforge", payload="", lock=ago("6 minutes"))
    return _run("DELETE FROM django_q_ormq"), None


def _silent_worker() -> tuple[Cure, None]:
    query("DELETE FROM worker_heartbeats")
    factories.worker(seen_at=ago("6 minutes"))
    return _run("UPDATE worker_heartbeats SET seen_at = now()"), None


def _overdue_job() -> tuple[Cure, str]:
    factories.job_schedule(next_due_at=ago("11 minutes"))
    return _run("UPDATE job_schedules SET next_due_at = now() + interval '1 day'"), "partitions"


def _failed_job() -> tuple[Cure, str]:
    factories.job_schedule()
    insert(
        "job_runs", job="partitions", status="failed", error="boom", started_at=ago("1 hour"), finished_at=SQL("now()")
    )
    return (
        lambda: insert("job_runs", job="partitions", status="succeeded", finished_at=SQL("now()")),
        "partitions",
    )


def _backup(kind: str, status: str, days: int) -> tuple[Cure, None]:
    error = "disk full" if status == "failed" else None
    moment = ago(f"{days} days")
    insert("backup_runs", kind=kind, status=status, file="a", error=error, started_at=moment, finished_at=moment)
    return (
        lambda: insert("backup_runs", kind=kind, status="succeeded", file="b", started_at=ago("1 hour")),
        None,
    )


def _drift() -> tuple[Cure, None]:
    query("ALTER FUNCTION roll_up_usage() RESET search_path")
    runner.run("verify", trigger="manual")

    def undo() -> None:
        query("ALTER FUNCTION roll_up_usage() SET search_path = public, pg_temp")
        runner.run("verify", trigger="manual")

    return undo, None


def _invalid_index() -> tuple[Cure, None]:
    update = "UPDATE pg_index SET indisvalid = %s WHERE indexrelid = 'users_created_at'::regclass"
    query(update, False)
    return _run(update, True), None


def _full_sequence() -> tuple[Cure, None]:
    query("CREATE SEQUENCE narrow AS smallint")
    query("SELECT setval('narrow', 32000)")
    return _run("DROP SEQUENCE narrow"), None


def _threshold(check: str) -> tuple[Cure, None]:
    """Measured, but not to be broken in a test: the threshold comes to the value."""
    change = "UPDATE health_checks SET warning_at = %s, critical_at = %s WHERE check_name = %s"
    query(change, 0, 0, check)
    return _run(change, 100, 100, check), None


def _wrong_clock() -> tuple[Cure, None]:
    said = "The clock of web2 is 3600 s ahead of the database's."
    insert("measurements", check_name="clock_skew", host="web2", value=3600, message=said)
    return _run("UPDATE measurements SET value = 0 WHERE check_name = 'clock_skew'"), None


FAULTS = [
    Fault("late", "stale_subscriptions", "warning", lambda: _expired_subscription(2)),
    Fault("very late", "stale_subscriptions", "critical", lambda: _expired_subscription(3)),
    Fault("failed once", "failed_webhooks", "warning", lambda: _failing_event("failed", 1)),
    Fault("failed thrice", "failed_webhooks", "warning", lambda: _failing_event("failed", 3)),
    Fault("failed four times", "failed_webhooks", "critical", lambda: _failing_event("failed", 4)),
    Fault("dead", "dead_webhooks", "critical", lambda: _failing_event("dead", 1), alert_type="failed_webhooks"),
    Fault("waits for a price", "waiting_events", "warning", _unmapped_price),
    Fault("waiting event", "webhook_delay", "critical", _waiting_event),
    Fault("abandoned event", "webhook_delay", "critical", _abandoned_event),
    Fault("error burst", "error_rate", "critical", _error_burst),
    Fault("near limit", "users_near_limit", "warning", _near_limit),
    Fault("overdue", "revenue_at_risk", "critical", _overdue),
    Fault("orphans", "orphaned_stripe_customers", "warning", _orphans),
    Fault("duplicate", "duplicate_subscriptions", "warning", _duplicate),
    Fault("unclaimed price", "unclaimed_prices", "warning", _unclaimed_price),
    Fault("unmatched", "unmatched_stripe_customers", "warning", _unmatched_customer),
    Fault("unsettled", "unsettled_stripe_requests", "warning", _unsettled_request),
    Fault("guessing", "authentication_failures", "warning", lambda: _guessing(21)),
    Fault("guessing on", "authentication_failures", "critical", lambda: _guessing(101)),
    Fault("second superuser", "account_changes", "warning", _second_superuser),
    Fault("missing partition", "partitions_ahead", "critical", _missing_partition),
    Fault("stray row", "default_partition_rows", "warning", _row_without_partition),
    Fault("disabled trigger", "disabled_triggers", "critical", _disabled_trigger),
    Fault("missing trigger", "disabled_triggers", "critical", _uncounted_partition),
    Fault("old task", "queue_age", "warning", _old_task),
    Fault("silent worker", "worker_silence", "critical", _silent_worker),
    Fault("overdue job", "overdue_jobs", "warning", _overdue_job),
    Fault("failed job", "failed_jobs", "warning", _failed_job),
    Fault("old backup", "backup_age", "critical", lambda: _backup("backup", "succeeded", 3)),
    Fault("old drill", "restore_drill_age", "warning", lambda: _backup("drill", "succeeded", 40)),
    Fault("failed backup", "failed_backups", "warning", lambda: _backup("backup", "failed", 1)),
    Fault("invalid index", "invalid_indexes", "warning", _invalid_index),
    Fault("full sequence", "sequences", "critical", _full_sequence),
    Fault("wrong clock", "clock_skew", "critical", _wrong_clock),
    Fault("drift", "drift", "warning", _drift),
    Fault("connections", "connections", "critical", lambda: _threshold("connections")),
]
