"""What sign-ins leave behind: a count of every failure, an audit row for every success and change, and a notice."""

from typing import Any

from allauth.account.authentication import get_authentication_records
from allauth.account.signals import user_logged_in
from allauth.mfa import signals as second_factor
from django.contrib.auth import get_user_model
from django.contrib.auth.models import AbstractBaseUser
from django.contrib.auth.signals import user_logged_out, user_login_failed
from django.dispatch import receiver
from django.http import HttpRequest

from glyphforge import audit
from glyphforge.staff import notices, sessions, sso
from glyphforge.staff.forms import SECOND_FACTOR
from glyphforge.staff.models import StaffSession
from glyphforge.web import brute_force
from glyphforge.web.client_address import client_address


@receiver(user_login_failed)
def count_failure(sender: Any, credentials: dict[str, Any], request: HttpRequest | None = None, **kwargs: Any) -> None:
    """Count a wrong password or code against the address that it came from, `unknown` without a request.

    The name is kept only when it is an account's: people type passwords into the wrong field.
    """
    name = str(credentials.get("username", ""))
    known = get_user_model().objects.filter(username=name).exists()
    kind = brute_force.Kind.STAFF_SECOND_FACTOR if sender == SECOND_FACTOR else brute_force.Kind.STAFF_PASSWORD
    source = client_address(request) if request else None
    brute_force.count_failure(kind, source or "unknown", name if known else "no such account")


@receiver(user_logged_in)
def record_sign_in(sender: Any, request: HttpRequest, user: AbstractBaseUser, **kwargs: Any) -> None:
    """Write the audit row `sign_in`: how, with which second factor, from which address; tell the owner of a new one."""
    how = "password"
    if kwargs.get("sociallogin"):
        how = "single sign-on"
        sso.groups_checked(request)
    factors = [each["type"] for each in get_authentication_records(request, user) if each["method"] == "mfa"]
    address = client_address(request)
    if notices.is_new(user, address):
        notices.send_later(user, "Somebody signed in to your account from a new address.", request)
    _record("sign_in", user, {"how": how, "second_factor": factors[-1] if factors else None, "address": address})


@receiver(user_logged_out)
def record_sign_out(sender: Any, request: HttpRequest, user: AbstractBaseUser | None, **kwargs: Any) -> None:
    """Write the audit row `sign_out`, and forget the session."""
    if user is None or not user.pk:
        return
    StaffSession.objects.filter(pk__in=[request.session.get(sessions.ID)]).delete()
    _record("sign_out", user, {"address": client_address(request)})


@receiver(second_factor.authenticator_added)
def record_added(sender: Any, user: AbstractBaseUser, authenticator: Any, **kwargs: Any) -> None:
    """Write the audit row `add_second_factor`, with its type: an app (`totp`), a passkey or recovery codes."""
    _record("add_second_factor", user, {"type": authenticator.type})
    notices.send_later(user, f"A second factor was added to your account: {authenticator.type}.", kwargs["request"])


@receiver(second_factor.authenticator_removed)
def record_removed(sender: Any, user: AbstractBaseUser, authenticator: Any, **kwargs: Any) -> None:
    """Write the audit row `remove_second_factor`, with the type of what was removed."""
    _record("remove_second_factor", user, {"type": authenticator.type})
    notices.send_later(user, f"A second factor was removed from your account: {authenticator.type}.", kwargs["request"])


@receiver(second_factor.authenticator_reset)
def record_reset(sender: Any, user: AbstractBaseUser, authenticator: Any, **kwargs: Any) -> None:
    """Write the audit row `renew_second_factor`: new recovery codes took the place of the old ones."""
    _record("renew_second_factor", user, {"type": authenticator.type})
    notices.send_later(user, f"A second factor of your account was renewed: {authenticator.type}.", kwargs["request"])


def _record(action: str, user: AbstractBaseUser, values: dict[str, Any]) -> None:
    with audit.acting_as(actor=user.get_username(), kind="staff"):
        audit.record(action, table_name="auth_user", row_id=user.pk, new_values=values)
