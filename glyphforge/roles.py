"""What each group of staff may do: data, applied after every `migrate`.

`billing.view_*` means every permission of that form. A group's permissions are exactly these: what was added to it by
hand is taken away again by the next `migrate`, so that a role means the same on every installation.
"""

from fnmatch import fnmatchcase
from typing import Any

from django.apps import AppConfig, apps
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Group, Permission
from django.db import DEFAULT_DB_ALIAS
from django.db.models.signals import post_migrate

READING_BILLING = ("billing.view_*", "djstripe.view_product", "djstripe.view_price", "djstripe.view_invoice")
READING = (*READING_BILLING, "monitoring.view_*", "django_q.view_failure")
# Business figures are for those who answer for them.
FIGURES = (
    "monitoring.view_revenuemetrics",
    "monitoring.view_subscriptionbreakdown",
    "monitoring.view_usergrowth",
    "monitoring.view_dailymrr",
    "monitoring.view_mrrmovement",
)

HEALING = (
    "billing.retry_webhookevent",
    "billing.replay_webhookevent",
    "billing.stop_replayrun",
    "billing.heal_difference",
    "billing.fix_orphans",
    "billing.sync_customer",
    "billing.add_customernote",
    "monitoring.acknowledge_alert",
)
KEYS = ("billing.add_apikey", "billing.rotate_apikey", "billing.revoke_apikey")
MONEY = ("billing.cancel_subscription", "billing.refund_payment")
ENTITLEMENT = ("billing.link_customer", "billing.map_planprice", "billing.suspend_user")

# Statements of other sessions may carry a customer's data.
STATEMENTS = ("monitoring.view_longrunningquery",)
EXPORT = ("monitoring.export_views",)

ROLES: dict[str, tuple[str, ...]] = {
    "support": (*READING, *HEALING, *KEYS),
    "billing_lead": (*READING, *HEALING, *KEYS, *ENTITLEMENT, *MONEY, *EXPORT),
    "operator": (
        *READING,
        *HEALING,
        "billing.revoke_apikey",
        "billing.suspend_user",
        "monitoring.run_job",
        "monitoring.schedule_job",
        "monitoring.change_healthcheck",
        *EXPORT,
    ),
    "auditor": (*READING, *EXPORT, "auth.view_user", "auth.view_group", "axes.view_*"),
}
WITHOUT: dict[str, tuple[str, ...]] = {
    "support": (*FIGURES, *STATEMENTS),
    "billing_lead": STATEMENTS,
    "operator": FIGURES,
}


def apply(using: str = DEFAULT_DB_ALIAS) -> None:
    """Makes the groups' permissions exactly those of `ROLES`. Idempotent."""
    known = [
        (f"{permission.content_type.app_label}.{permission.codename}", permission)
        for permission in Permission.objects.using(using).select_related("content_type")
    ]
    for role, granted in ROLES.items():
        group, _ = Group.objects.using(using).get_or_create(name=role)
        withheld = WITHOUT.get(role, ())
        group.permissions.set(
            permission for name, permission in known if _matches(name, granted) and not _matches(name, withheld)
        )


def _matches(name: str, patterns: tuple[str, ...]) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns)


def create_staff(username: str, role: str, *, password: str | None = None, email: str = "") -> Any:
    """A member of staff in one of the groups; None as password: signs in elsewhere. Refuses an unknown role."""
    if role not in ROLES:
        raise ValueError(f"unknown role {role!r}: one of {', '.join(ROLES)}")
    user = get_user_model().objects.create_user(username, email=email, password=password, is_staff=True)
    user.groups.add(Group.objects.get(name=role))
    return user


def _after_migrate(app_config: AppConfig, using: str = DEFAULT_DB_ALIAS, **kwargs: Any) -> None:
    # The signal comes once an app, in their order: the last one finds the permissions of all of them.
    signalled = [config.label for config in apps.get_app_configs() if config.models_module is not None]
    # `migrate contenttypes` alone leaves a database without groups.
    if app_config.label == signalled[-1] and "group" in kwargs["apps"].all_models["auth"]:
        apply(using)


def connect() -> None:
    """Has `migrate` apply the roles."""
    post_migrate.connect(_after_migrate, dispatch_uid="billing.roles")
