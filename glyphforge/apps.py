from django.apps import AppConfig
from django.conf import settings
from django.db.backends.signals import connection_created


class GlyphforgeConfig(AppConfig):
    """The project itself: commands, checks and middleware that belong to no single app."""

    name = "glyphforge"
    verbose_name = "Glyph Forge"

    def ready(self) -> None:
        from glyphforge import audit, checks, error_reports  # noqa: F401, PLC0415 - registers the checks

        if settings.SENTRY_DSN:
            error_reports.start(settings.SENTRY_DSN, environment="live" if settings.STRIPE_LIVE_MODE else "test")
        connection_created.connect(audit.install, dispatch_uid="glyphforge.audit")
