"""The sessions of an account: begun, found, kept and ended.

A session goes on while its row does. Another password, an account that is switched off and a second factor that is
removed or changed delete the rows by trigger, whoever does so; the session in which its owner did it is kept.
"""

import uuid
from datetime import timedelta
from typing import Any

from allauth.mfa.models import Authenticator
from django.conf import settings
from django.db import transaction
from django.db.models import Exists, OuterRef, QuerySet
from django.db.models.functions import Now
from django.http import HttpRequest

from glyphforge import audit
from glyphforge.staff.models import StaffSession
from glyphforge.text import cut
from glyphforge.web.client_address import client_address

ID = "staff_session"  # in the session
FACTORS = (Authenticator.Type.TOTP, Authenticator.Type.WEBAUTHN)


def begin(request: HttpRequest) -> None:
    """Write down that this session goes on, under a new id."""
    request.session[ID] = str(uuid.uuid4())
    keep(request)


def keep(request: HttpRequest) -> None:
    """Write down that this session goes on, also after all of its account were ended."""
    StaffSession.objects.bulk_create(
        [
            StaffSession(
                pk=request.session[ID],
                user_id=request.user.pk or 0,
                address=client_address(request),
                browser=cut(request.headers.get("User-Agent", ""), 200) or None,
            )
        ],
        ignore_conflicts=True,
    )


def find(request: HttpRequest) -> Any:
    """The session's row with `has_factor`, whether its account has a second factor; None when it was ended."""
    factors = Authenticator.objects.filter(user=OuterRef("user_id"), type__in=FACTORS)
    rows = StaffSession.objects.filter(pk=request.session[ID], user_id=request.user.pk or 0)
    return rows.annotate(has_factor=Exists(factors)).first()


def open_of(user_id: int) -> QuerySet[StaffSession]:
    """The sessions that the account has, the last used one first: neither idle nor old."""
    recent = Now() - timedelta(seconds=settings.STAFF_IDLE_SECONDS + 60)  # a minute late is what is written
    began = Now() - timedelta(seconds=settings.STAFF_SESSION_SECONDS)
    return StaffSession.objects.filter(user_id=user_id, seen_at__gt=recent, began_at__gt=began).order_by(
        "-seen_at", "pk"
    )


def end_others(request: HttpRequest) -> int:
    """End all sessions of whoever asks but the one that asks; returns how many went on. Audited."""
    user_id, this = request.user.pk or 0, request.session[ID]
    with transaction.atomic():
        ended = open_of(user_id).exclude(pk=this).count()
        StaffSession.objects.filter(user_id=user_id).exclude(pk=this).delete()
        audit.record("end_sessions", table_name="auth_user", row_id=user_id, new_values={"sessions": ended})
    return ended


def passkeys_of(user_id: int) -> Any:
    """The account's passkeys, the oldest first."""
    return Authenticator.objects.filter(user_id=user_id, type=Authenticator.Type.WEBAUTHN).order_by("pk")


def has_passkey(user_id: int) -> bool:
    """Whether the account has a passkey among its second factors."""
    return bool(passkeys_of(user_id).exists())


def has_factor(user_id: int) -> bool:
    """Whether the account has a second factor."""
    return bool(Authenticator.objects.filter(user_id=user_id, type__in=FACTORS).exists())
