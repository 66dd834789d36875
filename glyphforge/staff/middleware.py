"""What each request of signed-in staff must satisfy: a session neither idle nor old, and a second factor."""

import time
from collections.abc import Callable
from urllib.parse import urlencode

from allauth.mfa.models import Authenticator
from allauth.mfa.utils import is_mfa_enabled
from django.conf import settings
from django.contrib import messages
from django.contrib.auth import logout
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse

from glyphforge.staff.adapters import has_passed_second_factor

SIGNED_IN_AT = "staff_signed_in_at"
ACTIVE_AT = "staff_active_at"
WRITE_SECONDS = 60  # how exact the idle time is; a write a request would be the price of more


def _to(name: str, request: HttpRequest) -> HttpResponseRedirect:
    next_path = request.get_full_path() if request.method == "GET" else reverse("admin:index")
    return HttpResponseRedirect(f"{reverse(name)}?{urlencode({'next': next_path})}")


class SessionLimits:
    """Ends a session that was idle too long or is too old, and says so on the sign-in page.

    The limits are the settings STAFF_IDLE_SECONDS and STAFF_SESSION_SECONDS; idle time is exact to a minute. Why both:
    https://cheatsheetseries.owasp.org/cheatsheets/Session_Management_Cheat_Sheet.html#session-expiration
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
        return self.get_response(request)

    @staticmethod
    def _ended(request: HttpRequest) -> str | None:
        now, session = int(time.time()), request.session
        signed_in_at, active_at = session.get(SIGNED_IN_AT), session.get(ACTIVE_AT)
        if signed_in_at is None or active_at is None:
            session[SIGNED_IN_AT] = session[ACTIVE_AT] = now
            return None
        if now - active_at > settings.STAFF_IDLE_SECONDS:
            return f"You were signed out after {settings.STAFF_IDLE_SECONDS // 60} minutes without activity."
        if now - signed_in_at > settings.STAFF_SESSION_SECONDS:
            return f"Sign in again: a session lasts at most {settings.STAFF_SESSION_SECONDS // 3600} hours."
        if now - active_at >= WRITE_SECONDS:
            session[ACTIVE_AT] = now
        return None


class SecondFactorRequired:
    """Where a second factor is required, lets a session without one reach only the pages that provide it.

    However the session came to be: by password, by single sign-on, or before the requirement was switched on.
    """

    ALWAYS_REACHABLE = frozenset(
        {"mfa_activate_totp", "mfa_reauthenticate", "account_reauthenticate", "account_login", "admin:logout"}
    )

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
        name = request.resolver_match.view_name if request.resolver_match else None
        if name in self.ALWAYS_REACHABLE or has_passed_second_factor(request):
            return None
        enrolled = is_mfa_enabled(request.user, [Authenticator.Type.TOTP])
        return _to("mfa_reauthenticate" if enrolled else "mfa_activate_totp", request)
