"""What each request of staff must satisfy: from where it comes, a session that goes on, and a second factor."""

import time
from collections.abc import Callable
from ipaddress import IPv6Address, ip_address
from typing import Any
from urllib.parse import urlencode

from django.conf import settings
from django.contrib import messages
from django.contrib.auth import logout
from django.core.exceptions import PermissionDenied
from django.db.models.functions import Now
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse

from glyphforge.staff import sessions, sso
from glyphforge.staff.adapters import has_passed_passkey, has_passed_second_factor
from glyphforge.web.client_address import client_address

SIGNED_IN_AT = "staff_signed_in_at"
ACTIVE_AT = "staff_active_at"
WRITE_SECONDS = 60  # how exact the idle time is; a write a request would be the price of more


def _to(name: str, request: HttpRequest) -> HttpResponseRedirect:
    next_path = request.get_full_path() if request.method == "GET" else reverse("admin:index")
    return HttpResponseRedirect(f"{reverse(name)}?{urlencode({'next': next_path})}")


class AddressesAllowed:
    """Where STAFF_ADDRESSES names networks, refuses the back office to everybody else, the page of sign-in included."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        """Hand on what is not of the back office, or comes from one of the networks; raises PermissionDenied."""
        if settings.STAFF_ADDRESSES and request.path_info.startswith("/admin/") and not self._comes_from(request):
            raise PermissionDenied("The back office is not open to this address.")
        return self.get_response(request)

    @staticmethod
    def _comes_from(request: HttpRequest) -> bool:
        try:
            address = ip_address(client_address(request) or "")
        except ValueError:
            return False
        if isinstance(address, IPv6Address) and address.ipv4_mapped:
            address = address.ipv4_mapped
        return any(address in network for network in settings.STAFF_ADDRESSES)


class SessionLimits:
    """Ends a session that was idle too long, is too old or was ended elsewhere, and says so on the sign-in page.

    The limits are the settings STAFF_IDLE_SECONDS and STAFF_SESSION_SECONDS; idle time is exact to a minute. Why both:
    https://cheatsheetseries.owasp.org/cheatsheets/Session_Management_Cheat_Sheet.html#session-expiration
    A session that single sign-on began is sent to the issuer again within the hour (`glyphforge.staff.sso`).
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        """Sign out and redirect to the sign-in page when the session has ended, which the view never sees."""
        if request.user.is_authenticated:
            ended = self._ended(request)
            if ended:
                logout(request)
                messages.info(request, ended)
                return _to("admin:login", request)
            if sso.is_due(request):
                return _to("openid_connect_login", request)
        return self.get_response(request)

    @staticmethod
    def _ended(request: HttpRequest) -> str | None:
        now, session = int(time.time()), request.session
        if not {SIGNED_IN_AT, ACTIVE_AT, sessions.ID} <= set(session.keys()):
            session[SIGNED_IN_AT] = session[ACTIVE_AT] = now
            sessions.begin(request)
            return None
        signed_in_at, active_at = session[SIGNED_IN_AT], session[ACTIVE_AT]
        found: Any = sessions.find(request)
        request.staff_session = found  # type: ignore[attr-defined]
        if found is None:
            return "Sign in again: this session was ended."
        if now - active_at > settings.STAFF_IDLE_SECONDS:
            return f"You were signed out after {settings.STAFF_IDLE_SECONDS // 60} minutes without activity."
        if now - signed_in_at > settings.STAFF_SESSION_SECONDS:
            return f"Sign in again: a session lasts at most {settings.STAFF_SESSION_SECONDS // 3600} hours."
        if now - active_at >= WRITE_SECONDS:
            session[ACTIVE_AT] = now
            type(found).objects.filter(pk=found.pk).update(seen_at=Now())
        return None


class SecondFactorRequired:
    """Where a second factor is required, lets a session without one reach only the pages that provide it.

    However the session came to be: by password, by single sign-on, before the requirement was switched on, or with a
    factor that was removed since. Where STAFF_PASSKEYS_REQUIRED says so, superusers need a passkey.
    """

    ALWAYS_REACHABLE = frozenset(
        {
            "mfa_reauthenticate",
            "mfa_reauthenticate_webauthn",
            "account_reauthenticate",
            "account_login",
            "openid_connect_login",
            "openid_connect_callback",
            "admin:logout",
        }
    )
    # Reachable without a factor where the account has none; whoever has one shows it before another is added.
    ENROLMENT = frozenset({"mfa_activate_totp", "mfa_add_webauthn", "mfa_view_recovery_codes"})

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        """Leave the decision to `process_view`, as the view's name is not known before."""
        return self.get_response(request)

    def process_view(self, request: HttpRequest, view: object, args: object, kwargs: object) -> HttpResponse | None:
        """Redirect a session without a second factor to where it shows one, or sets up its first; else None.

        Called after the URL is resolved: https://docs.djangoproject.com/en/5.2/topics/http/middleware/#process-view
        """
        if not settings.STAFF_SECOND_FACTOR_REQUIRED or not request.user.is_authenticated:
            return None
        name = request.resolver_match.view_name if request.resolver_match else ""
        page = None if name in self.ALWAYS_REACHABLE else self._missing(request, name)
        return _to(page, request) if page else None

    def _missing(self, request: HttpRequest, name: str) -> str | None:
        """The page that provides what this session lacks; None where nothing is, and for that page itself."""
        known = getattr(request, "staff_session", None)
        enrolled = known.has_factor if known else sessions.has_factor(request.user.pk or 0)
        passed = enrolled and has_passed_second_factor(request)
        if name in self.ENROLMENT and (passed or not enrolled):
            return None
        if settings.STAFF_PASSKEYS_REQUIRED and request.user.is_superuser:
            if passed and has_passed_passkey(request):
                return None
            if sessions.has_passkey(request.user.pk):
                return "mfa_reauthenticate_webauthn"
            if passed or not enrolled:
                return "mfa_add_webauthn"
        elif passed:
            return None
        return "mfa_reauthenticate" if enrolled else "mfa_activate_totp"
