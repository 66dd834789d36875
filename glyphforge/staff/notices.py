"""What the owner of an account is told by mail: a sign-in from a new address, another second factor or password."""

import logging
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.contrib.auth import get_user_model
from django.contrib.auth.models import AbstractBaseUser
from django.core.mail import EmailMessage
from django.db.models.functions import Now
from django.http import HttpRequest
from django.urls import reverse
from django_q.tasks import async_task

from glyphforge.audit.models import AuditEntry
from glyphforge.database import installation
from glyphforge.text import cut
from glyphforge.web.client_address import client_address, source_of

logger = logging.getLogger(__name__)
REMEMBERED = timedelta(days=90)


def is_new(user: AbstractBaseUser, address: str | None) -> bool:
    """Whether the account has not signed in from this source within the days that are remembered."""
    known = AuditEntry.objects.filter(
        table_name="auth_user", row_id=str(user.pk), action="sign_in", occurred_at__gt=Now() - REMEMBERED
    ).values_list("new_values__address", flat=True)
    return source_of(address or "") not in {source_of(each or "") for each in known}


def send_later(user: Any, what: str, request: HttpRequest | None = None) -> None:
    """Queue the notice in this transaction; nobody waits for the mail server. No address, no notice."""
    if not user.email:
        return
    where = [f"From: {client_address(request) or 'unknown'}"] if request else []
    if request and (browser := request.headers.get("User-Agent")):
        where.append(f"With: {cut(browser, 200)}")
    async_task("glyphforge.staff.notices.send", user.pk, what, where)


def send(user_id: int, what: str, where: list[str]) -> None:
    """Mail the account's owner, unless this is a copy of production. Raises what the mail server raises."""
    user = get_user_model().objects.filter(pk=user_id).first()
    if user is None or not user.email:
        return
    if not installation.is_production():
        logger.info("A notice to the account %s is not sent. %s", user.get_username(), installation.COPY)
        return
    page = f"{settings.BACKOFFICE_URL}{reverse('mfa_index')}"
    lines = [
        what,
        "",
        f"Account: {user.get_username()}",
        *where,
        "",
        f"If it was not you: end your sessions and change your password at {page}, and tell an administrator.",
    ]
    EmailMessage(subject=f"Glyph Forge back office: {what}", body="\n".join(lines) + "\n", to=[user.email]).send()


class PasswordNotice:
    """A validator that refuses nothing: Django tells it of each new password, whoever sets it by whatever page.

    https://docs.djangoproject.com/en/5.2/topics/auth/passwords/#writing-your-own-validator
    """

    def validate(self, password: str, user: Any = None) -> None:
        """Accept it."""

    def get_help_text(self) -> str:
        """Nothing to heed."""
        return ""

    def password_changed(self, password: str, user: Any = None) -> None:
        """Tell the owner, if the account has had a password before."""
        if user is not None and user.last_login is not None:
            send_later(user, "Your password was changed.")
