from django.apps import AppConfig
from django.db.models.signals import post_delete, post_migrate, post_save


class MonitoringConfig(AppConfig):
    """The database's monitoring views as pages, alerts and jobs."""

    name = "monitoring"
    verbose_name = "Monitoring"

    def ready(self) -> None:
        from django_q.models import Schedule  # noqa: PLC0415 - models are there only now

        from monitoring import schedules  # noqa: PLC0415

        post_migrate.connect(schedules.install_after_migrate, sender=self)
        post_save.connect(schedules.mirror_edit, sender=Schedule)
        post_delete.connect(schedules.mirror_edit, sender=Schedule)
