from django.apps import AppConfig
from django.conf import settings


class GlyphforgeConfig(AppConfig):
    """The project itself: the checks that belong to no single app."""

    name = "glyphforge"
    verbose_name = "Glyph Forge"

    def ready(self) -> None:
        """Register the system checks and, where SENTRY_DSN is set, start error reports."""
        from glyphforge import checks  # noqa: F401, PLC0415 - registers the checks
        from glyphforge.observability import error_reports  # noqa: PLC0415

        if settings.SENTRY_DSN:
            error_reports.start(settings.SENTRY_DSN, environment="live" if settings.STRIPE_LIVE_MODE else "test")
