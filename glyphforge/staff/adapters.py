"""What django-allauth asks us: when to ask again, and how second-factor secrets are stored."""

import base64
import hashlib
import time

from allauth.account.adapter import DefaultAccountAdapter
from allauth.account.authentication import get_authentication_records
from allauth.account.internal.flows.login import record_authentication
from allauth.core import context
from allauth.mfa.adapter import DefaultMFAAdapter
from allauth.mfa.models import Authenticator
from cryptography.fernet import Fernet, MultiFernet
from django.conf import settings
from django.http import HttpRequest

RECENT_SECONDS = 300
NAME = "Glyph Forge back office"


class AccountAdapter(DefaultAccountAdapter):
    """Accounts are made by administrators or by single sign-on; nobody signs up."""

    def is_open_for_signup(self, request: HttpRequest) -> bool:
        """Never: the page does not exist, and this closes what else could lead there."""
        return False

    def is_reauthentication_required(self, *, app: str, **kwargs: object) -> bool:
        """Changing the second factor takes a proof of identity not older than five minutes, the sign-in included."""
        records = get_authentication_records(context.request, context.request.user)
        return not any(time.time() - record["at"] < RECENT_SECONDS for record in records)


class SecondFactorAdapter(DefaultMFAAdapter):
    """Encrypts secrets at rest, so that a copy of the database alone passes nobody's second factor."""

    def get_totp_issuer(self) -> str:
        """The name under which an authenticator app lists the account."""
        return NAME

    def get_public_key_credential_rp_entity(self) -> dict[str, str]:
        """Whom a passkey is made for: the host of STAFF_PASSKEY_HOST, else the one that was asked for."""
        host = settings.STAFF_PASSKEY_HOST or context.request.get_host().partition(":")[0]
        return {"id": host, "name": NAME}

    def encrypt(self, text: str) -> str:
        """The text as a Fernet token under today's DJANGO_SECRET_KEY."""
        return _fernet().encrypt(text.encode()).decode("ascii")

    def decrypt(self, encrypted_text: str) -> str:
        """The text of a token made under today's key or a fallback; raises InvalidToken for any other."""
        return _fernet().decrypt(encrypted_text.encode()).decode()


def has_passed_second_factor(request: HttpRequest) -> bool:
    """Whether this session, of this user, has shown a code."""
    return any(record["method"] == "mfa" for record in get_authentication_records(request, request.user))


def has_passed_passkey(request: HttpRequest) -> bool:
    """Whether this session, of this user, has shown a passkey."""
    records = get_authentication_records(request, request.user)
    return any(record["method"] == "mfa" and record.get("type") == "webauthn" for record in records)


def remember_second_factor(request: HttpRequest, kind: str) -> None:
    """Count a code or a passkey just shown, as at enrolment, for this session."""
    record_authentication(request, request.user, "mfa", type=kind)


def reencrypt(authenticator: Authenticator) -> None:
    """Encrypt what is stored under today's DJANGO_SECRET_KEY, and save it.

    That is an app's `secret` or the `seed` of recovery codes. Raises InvalidToken when no key can read it.
    """
    for name in ("secret", "seed"):
        if name in authenticator.data:
            authenticator.data[name] = _fernet().rotate(authenticator.data[name].encode()).decode("ascii")
    authenticator.save(update_fields=["data"])


def _fernet() -> MultiFernet:
    """Keyed by DJANGO_SECRET_KEY; while it is rotated, what the fallbacks encrypted can still be read."""
    secrets = [settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS]
    return MultiFernet(
        [
            Fernet(base64.urlsafe_b64encode(hashlib.sha256(b"staff second factor\0" + secret.encode()).digest()))
            for secret in secrets
        ]
    )
