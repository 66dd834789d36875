from django.apps import AppConfig


class GlyphforgeConfig(AppConfig):
    """The project itself: commands, checks and middleware that belong to no single app."""

    name = "glyphforge"
    verbose_name = "Glyph Forge"

    def ready(self) -> None:
        from glyphforge import checks  # noqa: F401, PLC0415 - registers the checks
