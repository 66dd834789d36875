"""System checks that know what this back office needs in production."""

from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Tags, Warning, register


@register(Tags.security, deploy=True)
def shared_secret_key(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    """A generated key works on one machine only: sessions signed here are unreadable on the next."""
    if not settings.SECRET_KEY_IS_LOCAL:
        return []
    return [
        Warning(
            "DJANGO_SECRET_KEY is not set; this machine uses a key of its own.",
            hint="Set the same DJANGO_SECRET_KEY (50 random characters or more) for every web process and worker.",
            id="glyphforge.W001",
        )
    ]
