from django.apps import AppConfig


class MonitoringConfig(AppConfig):
    """The database's monitoring views as pages, alerts and jobs."""

    name = "monitoring"
    verbose_name = "Monitoring"
