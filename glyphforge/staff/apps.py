from django.apps import AppConfig


class StaffConfig(AppConfig):
    """How staff prove who they are: password, second factor, single sign-on, time limits."""

    name = "glyphforge.staff"
    label = "staff"
    verbose_name = "Sign-in"

    def ready(self) -> None:
        from glyphforge.staff import receivers  # noqa: F401, PLC0415 - connects the signals
