from django.apps import AppConfig


class BackofficeConfig(AppConfig):
    """The look and the building blocks of every page."""

    name = "glyphforge.admin"
    label = "backoffice"
    verbose_name = "Back office"
