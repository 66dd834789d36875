from django.apps import AppConfig


class WebConfig(AppConfig):
    """What every request passes through, and who failed to prove an identity."""

    name = "glyphforge.web"
    label = "web"
    verbose_name = "Web"
