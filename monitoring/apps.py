from django.apps import AppConfig
from django.db.models.signals import post_delete, post_migrate, post_save


class MonitoringConfig(AppConfig):
    """The database's monitoring views as pages, alerts and jobs."""

    name = "monitoring"
    verbose_name = "Monitoring"

    def ready(self) -> None:
        from django_q import signals as queue  # noqa: PLC0415 - models are there only now
        from django_q.models import Schedule  # noqa: PLC0415

        from monitoring import heartbeat, schedules  # noqa: PLC0415

        post_migrate.connect(schedules.install_after_migrate, sender=self)
        post_save.connect(schedules.mirror_edit, sender=Schedule)
        post_delete.connect(schedules.mirror_edit, sender=Schedule)
        queue.post_spawn.connect(heartbeat.worker_spawned)
        queue.pre_execute.connect(heartbeat.task_begins)
        queue.post_execute_in_worker.connect(heartbeat.task_ended)
