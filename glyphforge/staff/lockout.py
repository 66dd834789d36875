"""Guesses at passwords and codes: one at a time for an account and a source, and none after five failures.

Whatever takes a password or a code evaluates it here. The counts are rows of django-axes, which also gives the commands
that list and reset them. A success forgives an account's failures from the same source, and nobody else's.
"""

import hashlib
import hmac
from collections.abc import Callable
from typing import Any, TypeVar

from axes.backends import AxesBackend
from axes.exceptions import AxesBackendRequestParameterRequired
from axes.handlers.database import AxesDatabaseHandler
from axes.models import AccessAttempt
from django.conf import settings
from django.contrib.auth import get_user_model
from django.contrib.auth.backends import ModelBackend
from django.contrib.auth.models import AbstractBaseUser
from django.core.exceptions import PermissionDenied
from django.db import connection, transaction
from django.db.models import F, Q, Sum
from django.db.models.functions import Now
from django.http import HttpRequest

from glyphforge import audit
from glyphforge.web.client_address import client_address, source_of

Found = TypeVar("Found")


class LockedOut(PermissionDenied):
    """There were too many failures of the account or of the source: nothing was evaluated."""


def guess(request: HttpRequest, username: str, evaluate: Callable[[], Found | None]) -> Found | None:
    """What `evaluate()` finds, None for a wrong guess, which is counted.

    Others that guess at the same account, or from the same source, wait meanwhile: at once are no more guesses than one
    after the other. Raises LockedOut, and marks the request for the answer that says so, when there were too many.
    """
    name, source = counted_name(username), _source(request)
    with transaction.atomic(), connection.cursor() as cursor:
        for key in sorted((f"staff account {name}", f"staff source {source}")):  # in one order: nobody waits in a ring
            cursor.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", [key])
        if _failures(name, source) >= settings.AXES_FAILURE_LIMIT:
            request.axes_locked_out = True  # type: ignore[attr-defined]  # its middleware answers
            raise LockedOut
        found = evaluate()
        if found is None:
            _count(name, source)
            if _failures(name, source) >= settings.AXES_FAILURE_LIMIT:
                request.axes_locked_out = True  # type: ignore[attr-defined]
                _tell(username, source)
    return found


def counted_name(username: str) -> str:
    """The name by which failures are counted: an account's, else a keyed hash, as people type passwords there."""
    if get_user_model().objects.filter(username=username).exists():
        return username
    key = b"no account\0" + settings.SECRET_KEY.encode()
    return f"unknown:{hmac.new(key, username.encode(errors='replace'), hashlib.sha256).hexdigest()[:32]}"


def _source(request: HttpRequest) -> str | None:
    """As a row keeps it, in a column for addresses: of IPv6 the first address of the /64."""
    address = client_address(request)
    return source_of(address).partition("/")[0] if address else None


def _recent() -> Any:
    return AccessAttempt.objects.filter(attempt_time__gt=Now() - settings.AXES_COOLOFF_TIME)


def _failures(name: str, source: str | None) -> int:
    """Of the account or of the source, whichever failed more of late."""
    of_either = {"account": Q(username=name), "source": Q(ip_address=source) if source else Q(ip_address__isnull=True)}
    sums = _recent().aggregate(**{each: Sum("failures_since_start", filter=its) for each, its in of_either.items()})
    return max(found or 0 for found in sums.values())


def _count(name: str, source: str | None) -> None:
    kept = {"username": name, "ip_address": source, "user_agent": ""}
    rows = AccessAttempt.objects.filter(username=name, user_agent="")
    rows = rows.filter(ip_address=source) if source else rows.filter(ip_address__isnull=True)
    rows.filter(attempt_time__lte=Now() - settings.AXES_COOLOFF_TIME).delete()
    if not rows.update(failures_since_start=F("failures_since_start") + 1, attempt_time=Now()):
        AccessAttempt.objects.create(**kept, failures_since_start=1)
        rows.update(attempt_time=Now())  # the database's clock


def _tell(username: str, source: str | None) -> None:
    account = get_user_model().objects.filter(username=username).first()
    with audit.acting_as(actor="sign-in", kind="system"):
        audit.record(
            "lock_out", table_name="auth_user", row_id=account.pk if account else None, new_values={"address": source}
        )


class PasswordBackend(AxesBackend):
    """Django's check of a password, as a guess; `authenticate()` comes here, whoever calls it."""

    def authenticate(
        self, request: HttpRequest | None, username: str | None = None, password: str | None = None, **kwargs: Any
    ) -> AbstractBaseUser | None:
        """The account whose name and password these are; raises LockedOut after too many wrong ones."""
        if request is None:
            raise AxesBackendRequestParameterRequired("a guess is counted by the request that it came with")
        if username is None or password is None:
            return None
        return guess(
            request,
            username,
            lambda: ModelBackend.authenticate(self, request, username=username, password=password, **kwargs),
        )


class Attempts(AxesDatabaseHandler):
    """What django-axes does at its signals: failures are counted where they are evaluated, successes forgive."""

    def user_login_failed(self, sender: Any, credentials: Any, request: Any = None, **kwargs: Any) -> None:
        """Nothing: `guess` has counted it."""

    def user_logged_in(self, sender: Any, request: HttpRequest, user: AbstractBaseUser, **kwargs: Any) -> None:
        """Forgive this account's failures from where it now signed in."""
        source = _source(request)
        rows = AccessAttempt.objects.filter(username=user.get_username())
        (rows.filter(ip_address=source) if source else rows.filter(ip_address__isnull=True)).delete()

    def user_logged_out(self, sender: Any, request: HttpRequest, user: Any, **kwargs: Any) -> None:
        """Nothing: the audit log has it."""
