from django.apps import AppConfig
from django.db.backends.signals import connection_created


class GlyphforgeConfig(AppConfig):
    """The project itself: commands, checks and middleware that belong to no single app."""

    name = "glyphforge"
    verbose_name = "Glyph Forge"

    def ready(self) -> None:
        from glyphforge import audit, checks  # noqa: F401, PLC0415 - registers the checks

        connection_created.connect(audit.install, dispatch_uid="glyphforge.audit")
