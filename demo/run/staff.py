"""One demo login per group of staff, with a password of this checkout's own."""

import secrets
from pathlib import Path

from django.contrib.auth import get_user_model
from django.contrib.auth.models import Group

from glyphforge.roles import ROLES

GROUPS = tuple(ROLES)
ADMIN = "admin"


def demo_password(path: Path) -> str:
    """The password of all demo logins, made once and kept at `path` for its owner only."""
    if not path.exists():
        path.touch(mode=0o600)
        path.write_text(f"forge-{secrets.token_hex(3)}-{secrets.token_hex(3)}")
    return path.read_text()


def ensure_logins(password: str) -> list[str]:
    """Have a staff user per group and a superuser, all with `password`; returns their names."""
    users = get_user_model()
    for name in (*GROUPS, ADMIN):
        user, _ = users.objects.get_or_create(
            username=name,
            defaults={"email": f"{name}@glyphforge.example", "is_staff": True, "is_superuser": name == ADMIN},
        )
        if not user.check_password(password):
            user.set_password(password)
            user.save(update_fields=["password"])
        if name in GROUPS:
            user.groups.add(Group.objects.get(name=name))
    return [*GROUPS, ADMIN]
