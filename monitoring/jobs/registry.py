"""The maintenance jobs: what runs by itself, when, for how long at most, and what it protects against."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from django.conf import settings

from monitoring.jobs.functions import alerts as alert_jobs
from monitoring.jobs.functions import cognito as cognito_jobs
from monitoring.jobs.functions import database as database_jobs
from monitoring.jobs.functions import folding, housekeeping
from monitoring.jobs.functions import stripe as stripe_jobs
from monitoring.jobs.outcome import Outcome
from monitoring.jobs.steps import Partitions, Retention, Step, Vacuum, run_listing, run_number, run_steps


@dataclass(frozen=True)
class Job:
    """A job of the registry. `cron` is read in UTC, which knows no daylight saving time.

    `function` is stopped after `timeout_seconds`. `needs` names a setting without which the job cannot be done in this
    process, though perhaps on another machine.
    """

    name: str
    cron: str
    timeout_seconds: int
    function: Callable[[], Outcome]
    protects_against: str
    needs: str = ""

    @property
    def can_run_here(self) -> bool:
        """Whether this process has the setting that the job needs."""
        return not self.needs or bool(getattr(settings, self.needs))


_PARTITIONS = (
    Partitions("create_api_usage_partitions", "api_usage"),
    Partitions("create_audit_log_partitions", "audit_log"),
)
_ALL = (
    Job(
        "partitions",
        "0 1 * * *",
        300,
        partial(run_steps, *_PARTITIONS),
        "Usage and audit rows of a month that has no partition yet.",
    ),
    Job(
        "daily",
        "0 2 * * *",
        900,
        partial(
            run_steps,
            # The tasks of run_daily_maintenance(), each in a transaction of its own: what locks partitions holds up
            # no other task, and a retention that fails does not undo the creation.
            Step("roll_up_usage", "SELECT roll_up_usage()"),
            Step("sync_subscription_usage", "SELECT sync_subscription_usage()"),
            Step("fix_orphaned_stripe_customers", "SELECT * FROM fix_orphaned_stripe_customers()", count=len),
            Step("cleanup_webhook_events", "SELECT cleanup_webhook_events()"),
            Step("cleanup_rate_limits", "SELECT cleanup_rate_limits()"),
            Step("cleanup_api_usage_request_ids", "SELECT cleanup_api_usage_request_ids()"),
            Step("analyze_partitioned_tables", "SELECT analyze_partitioned_tables()"),
            *_PARTITIONS,
            Retention("cleanup_old_api_usage", "SELECT cleanup_old_api_usage()"),
            Step("take_daily_snapshot", "SELECT take_daily_snapshot()"),
            housekeeping.CLEANUP_JOB_RUNS,
            *housekeeping.CLEANUP_QUEUE,
            *housekeeping.CLEANUP_SIGN_INS,
            housekeeping.CLEANUP_READS,
            *housekeeping.CLEANUP_MEASUREMENTS,
        ),
        "Tables that grow without end, counters that drift, stale planner statistics.",
    ),
    Job(
        "sync",
        "5 * * * *",
        300,
        partial(run_number, "SELECT sync_subscription_usage()"),
        "A subscription's usage count that differs from the usage recorded.",
    ),
    Job(
        "orphans",
        "10 * * * *",
        300,
        partial(run_listing, "SELECT * FROM fix_orphaned_stripe_customers()"),
        "A Stripe customer without a live subscription row.",
    ),
    Job(
        "cognito",
        "40 * * * *",
        900,
        cognito_jobs.sync_user_pool,
        "Customers who were disabled, deleted or renamed in Cognito, and sign-ups that were not stored.",
        needs="COGNITO_USER_POOL_ID",
    ),
    Job(
        "weekly",
        "0 3 * * 0",
        900,
        partial(
            run_steps,
            Step("cleanup_webhook_events", "SELECT cleanup_webhook_events()"),
            Step("cleanup_api_usage_request_ids", "SELECT cleanup_api_usage_request_ids()"),
            Step("analyze_partitioned_tables", "SELECT analyze_partitioned_tables()"),
            Retention("cleanup_audit_log", "SELECT cleanup_audit_log()"),
            Step("cleanup_alerts", "SELECT cleanup_alerts()"),
            Vacuum(
                "vacuum",
                ("api_keys", "users", "subscriptions", "payment_history", "stripe_webhook_events", "rate_limits"),
            ),
        ),
        "An audit log past its retention, and dead rows that autovacuum left.",
    ),
    Job(
        "rollup",
        "* * * * *",
        300,
        folding.fold_until_caught_up,
        "Queues of counted usage that grow until the summaries and views are slow to read.",
    ),
    Job(
        "webhooks",
        "* * * * *",
        60,
        stripe_jobs.requeue_due,
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
        alert_jobs.process_alerts,
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
        partial(run_number, "SELECT take_daily_snapshot()"),
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
        "seal",
        "*/15 * * * *",
        120,
        database_jobs.seal_audit_log,
        "An audit log that somebody changes with the rights of the database's owner.",
    ),
    Job(
        "verify",
        "0 5 * * *",
        300,
        database_jobs.find_drift,
        "A database that is no longer what the migrations define, and an audit log that is not what was sealed.",
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
