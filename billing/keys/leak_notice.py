"""Messages to a key's owner: that it was found in the open and has been revoked, that it ends, that it is unused."""

import logging

from django.conf import settings
from django.core.mail import EmailMessage

from billing.models import ApiKey
from glyphforge.database import installation

logger = logging.getLogger(__name__)


def send(key: ApiKey) -> None:
    """Mail the key's owner, if there is an address, with `ALERT_EMAIL` in blind copy.

    The key must be revoked and its user loaded. Nothing is sent from a copy of production. Raises what the mail server
    raises: `OSError` or `SMTPException`.
    """
    assert key.revoked_at is not None, "a notice follows the revocation"  # noqa: S101 - the caller's mistake
    if not installation.is_production():
        logger.info("The notice of key %s is not sent. %s", key.key_prefix, installation.COPY)
        return
    EmailMessage(
        subject=f"Your API key {key.key_prefix}… was revoked",
        body=(
            f"Your {key.get_environment_display().lower()} API key {key.key_prefix}… was found where others could read"
            f" it. We revoked it on {key.revoked_at:%Y-%m-%d at %H:%M} UTC; requests with it are refused since.\n\n"
            "Create a new key, replace the old one in your programs, and look for requests that were not yours.\n"
        ),
        to=[key.user.email] if key.user.email else [],
        bcc=[settings.ALERT_EMAIL] if settings.ALERT_EMAIL else [],
    ).send()


def send_occasion(key: ApiKey, occasion: str) -> None:
    """Mail the key's owner, if there is an address, why the key ends soon: `occasion` goes on after `Your key …`.

    Nothing is sent of a key that has ended meanwhile, nor from a copy of production. Raises as `send`.
    """
    if not key.user.email or key.revoked_at is not None or not installation.is_production():
        logger.info("No notice of key %s is sent.", key.key_prefix)
        return
    EmailMessage(
        subject=f"Your API key {key.key_prefix}… {occasion}",
        body=(
            f"Your {key.get_environment_display().lower()} API key {key.key_prefix}… {occasion}.\n\n"
            "If your programs need it, create a new key and replace it in time. An unused key that is used again"
            " within a month stays; otherwise it is revoked.\n"
        ),
        to=[key.user.email],
    ).send()
