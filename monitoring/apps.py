from django.apps import AppConfig
from django.contrib import admin
from django.db.models.signals import post_delete, post_migrate, post_save

from glyphforge.database import rehearsal
from glyphforge.database.rights import Rights


class MonitoringConfig(AppConfig):
    """The database's monitoring views as pages, alerts and jobs."""

    name = "monitoring"
    verbose_name = "Monitoring"
    database_rights = Rights(maintenance=("fold_traffic",))
    seeded = ("alert_evaluations", "daily_figures", "health_checks", "job_schedules", "traffic_progress")
    database_status = {
        "jobs": (
            "job_runs",
            """
            SELECT job, status, started_at, finished_at, rows_affected, error FROM last_job_runs
            WHERE kind = 'latest' ORDER BY job
            """,
        )
    }

    def ready(self) -> None:
        """Connect what lives outside: dashboard, queue, schedules, heartbeats, reports, customers' pasts, rehearsals.

        For the queue's signals see https://django-q2.readthedocs.io/en/master/signals.html
        """
        from django_q import signals as queue  # noqa: PLC0415 - models are there only now
        from django_q.models import Schedule  # noqa: PLC0415

        from billing.stripe import backfill  # noqa: PLC0415
        from monitoring.alerts import consequences  # noqa: PLC0415
        from monitoring.jobs import schedules  # noqa: PLC0415
        from monitoring.models import Notification, mrr_movement  # noqa: PLC0415
        from monitoring.notifications import outbox  # noqa: PLC0415
        from monitoring.reports import sending  # noqa: PLC0415
        from monitoring.worker import heartbeat, scheduler, serialization  # noqa: PLC0415

        rehearsal.register(observer=consequences.watched)
        serialization.install()
        scheduler.install()
        outbox.register_sender(Notification.Kind.REPORT, sending.deliver)
        admin.site.index_template = "monitoring/dashboard.html"
        post_migrate.connect(schedules.install_after_migrate, sender=self)
        post_save.connect(schedules.mirror_edit, sender=Schedule)
        post_delete.connect(schedules.mirror_edit, sender=Schedule)
        backfill.past_of_customer.connect(mrr_movement.rebuild_past)
        backfill.past_of_account.connect(mrr_movement.refresh_days)
        queue.post_spawn.connect(heartbeat.worker_spawned)
        queue.pre_execute.connect(heartbeat.task_begins)
        queue.post_execute_in_worker.connect(heartbeat.task_ended)
