"""The groups of staff, made exactly what the settings STAFF_ROLES and STAFF_ROLES_WITHOUT say.

Both map a group to permissions, `app.codename` or a pattern such as `app.view_*`; what the second names is withheld.
"""

from fnmatch import fnmatchcase
from typing import Any

from django.apps import AppConfig, apps
from django.conf import settings
from django.contrib.auth.models import Group, Permission
from django.db import DEFAULT_DB_ALIAS
from django.db.models.signals import post_migrate

from glyphforge import audit


def apply(using: str = DEFAULT_DB_ALIAS) -> None:
    """Make the groups' permissions exactly those of the settings; other groups stay as they are. Idempotent."""
    known = [
        (f"{permission.content_type.app_label}.{permission.codename}", permission)
        for permission in Permission.objects.using(using).select_related("content_type")
    ]
    with audit.acting_as(actor="migrate", kind="system", reason="The roles that this release defines"):
        for role, granted in settings.STAFF_ROLES.items():
            group, _ = Group.objects.using(using).get_or_create(name=role)
            withheld = settings.STAFF_ROLES_WITHOUT.get(role, ())
            group.permissions.set(
                permission for name, permission in known if _matches(name, granted) and not _matches(name, withheld)
            )


def _matches(name: str, patterns: tuple[str, ...]) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns)


def _after_migrate(app_config: AppConfig, using: str = DEFAULT_DB_ALIAS, **kwargs: Any) -> None:
    # The signal comes once an app, in their order: the last one finds the permissions of all of them.
    signalled = [config.label for config in apps.get_app_configs() if config.models_module is not None]
    # `migrate contenttypes` alone leaves a database without groups.
    if app_config.label == signalled[-1] and "group" in kwargs["apps"].all_models["auth"]:
        apply(using)


def connect() -> None:
    """Have `migrate` apply the roles."""
    post_migrate.connect(_after_migrate, dispatch_uid="glyphforge.roles")
