from django.apps import AppConfig


class StaffConfig(AppConfig):
    """How staff prove who they are: password, second factor, single sign-on, time limits."""

    name = "glyphforge.staff"
    label = "staff"
    verbose_name = "Sign-in"
    sql_needs = ("account", "auth", "mfa", "socialaccount")  # triggers on their tables
    audit_pages = {"auth_user": "admin:auth_user_change", "auth_group": "admin:auth_group_change"}

    def ready(self) -> None:
        """Connect what listens to sign-ins, and have `migrate` apply the roles."""
        from glyphforge.staff import groups, receivers  # noqa: F401, PLC0415 - connects the signals

        groups.connect()
