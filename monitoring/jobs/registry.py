"""The maintenance jobs: what runs by itself, when, for how long at most, and what it protects against."""

from collections.abc import Callable
from dataclasses import dataclass

from django.conf import settings

from monitoring import alert_jobs, cognito_jobs, database_jobs, housekeeping, maintenance, stripe_jobs
from monitoring.outcome import Outcome


@dataclass(frozen=True)
class Job:
    """A job of the registry. `cron` is read in UTC, which knows no daylight saving time.

    `needs` names a setting without which the job cannot be done in this process, though perhaps on another machine.
    """

    name: str
    cron: str
    timeout_seconds: int
    function: Callable[[], Outcome]
    protects_against: str
    needs: str = ""

    @property
    def can_run_here(self) -> bool:
        return not self.needs or bool(getattr(settings, self.needs))


_ALL = (
    Job(
        "partitions",
        "0 1 * * *",
        300,
        maintenance.counting("SELECT create_api_usage_partitions(3)"),
        "Usage rows of a month that has no partition yet.",
    ),
    Job(
        "daily",
        "0 2 * * *",
        900,
        maintenance.steps(
            {
                # The tasks of run_daily_maintenance(), each in a transaction of its own: what locks partitions holds up
                # no other task, and a retention that fails does not undo the creation.
                "roll_up_usage": maintenance.number("SELECT roll_up_usage()"),
                "sync_subscription_usage": maintenance.number("SELECT sync_subscription_usage()"),
                "fix_orphaned_stripe_customers": maintenance.row_count("SELECT * FROM fix_orphaned_stripe_customers()"),
                "cleanup_webhook_events": maintenance.number("SELECT cleanup_webhook_events()"),
                "cleanup_rate_limits": maintenance.number("SELECT cleanup_rate_limits()"),
                "cleanup_api_usage_request_ids": maintenance.number("SELECT cleanup_api_usage_request_ids()"),
                "analyze_partitioned_tables": maintenance.number("SELECT analyze_partitioned_tables()"),
                "create_api_usage_partitions": maintenance.number("SELECT create_api_usage_partitions()"),
                "create_audit_log_partitions": maintenance.number("SELECT create_audit_log_partitions()"),
                "cleanup_old_api_usage": maintenance.number("SELECT cleanup_old_api_usage()"),
                "take_daily_snapshot": maintenance.number("SELECT take_daily_snapshot()"),
                "cleanup_job_runs": housekeeping.purge_job_runs,
                "cleanup_queue": housekeeping.purge_queue,
                "cleanup_sign_ins": housekeeping.purge_sign_ins,
            }
        ),
        "Tables that grow without end, counters that drift, stale planner statistics.",
    ),
    Job(
        "sync",
        "5 * * * *",
        300,
        maintenance.counting("SELECT sync_subscription_usage()"),
        "A subscription's usage count that differs from the usage recorded.",
    ),
    Job(
        "orphans",
        "10 * * * *",
        300,
        maintenance.listing("SELECT * FROM fix_orphaned_stripe_customers()"),
        "A Stripe customer without a live subscription row.",
    ),
    Job(
        "cognito",
        "40 * * * *",
        900,
        cognito_jobs.follow_user_pool,
        "Customers who were disabled, deleted or renamed in Cognito, and sign-ups that were not stored.",
        needs="COGNITO_USER_POOL_ID",
    ),
    Job(
        "weekly",
        "0 3 * * 0",
        900,
        maintenance.steps(
            {
                "cleanup_webhook_events": maintenance.number("SELECT cleanup_webhook_events()"),
                "cleanup_api_usage_request_ids": maintenance.number("SELECT cleanup_api_usage_request_ids()"),
                "analyze_partitioned_tables": maintenance.number("SELECT analyze_partitioned_tables()"),
                "cleanup_audit_log": maintenance.number("SELECT cleanup_audit_log()"),
                "cleanup_alerts": maintenance.number("SELECT cleanup_alerts()"),
                "vacuum": maintenance.vacuum(
                    "api_keys", "users", "subscriptions", "payment_history", "stripe_webhook_events", "rate_limits"
                ),
            }
        ),
        "An audit log past its retention, and dead rows that autovacuum left.",
    ),
    Job(
        "rollup",
        "* * * * *",
        300,
        maintenance.steps(
            {
                "roll_up_usage": maintenance.number("SELECT roll_up_usage()"),
                "fold_traffic": maintenance.number("SELECT fold_traffic()"),
            }
        ),
        "Queues of counted usage that grow until the summaries and views are slow to read.",
    ),
    Job(
        "webhooks",
        "* * * * *",
        60,
        stripe_jobs.sweep,
        "A Stripe event whose task was lost, whose worker died, or whose next try is due.",
    ),
    Job(
        "reconcile",
        "30 4 * * *",
        800,
        stripe_jobs.reconcile,
        "A Stripe event that never arrived, and rows that differ from Stripe.",
    ),
    Job(
        "alerts",
        "* * * * *",
        60,
        alert_jobs.watch,
        "Trouble that nobody hears of, and messages that a channel did not take.",
    ),
    Job(
        "health",
        "*/15 * * * *",
        120,
        alert_jobs.check_health,
        "A system that was unwell without a record of when and how.",
    ),
    Job(
        "snapshot",
        "20 * * * *",
        300,
        maintenance.counting("SELECT take_daily_snapshot()"),
        "Charts that stand still, and revenue that moved without a booking.",
    ),
    Job(
        "backup",
        "30 2 * * *",
        1080,
        database_jobs.take_backup,
        "A lost database, and a disk full of backups.",
        needs="BACKUP_DIR",
    ),
    Job(
        "verify",
        "0 5 * * *",
        300,
        database_jobs.find_drift,
        "A database that is no longer what the migrations define.",
    ),
    Job(
        "drill",
        "30 5 * * 0",
        1080,
        database_jobs.restore_drill,
        "Backups that nobody could restore.",
        needs="BACKUP_DIR",
    ),
    Job(
        "report",
        "0 8 * * *",
        120,
        alert_jobs.report,
        "A day that ended without anybody looking at its figures.",
    ),
)

JOBS = {job.name: job for job in _ALL}
