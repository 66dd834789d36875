"""The pages of sign-in. django-allauth decides; these give its views the look of the back office."""

import logging
from collections.abc import Callable
from typing import Any

from allauth.account.internal.flows.login import perform_password_login
from allauth.account.models import Login
from allauth.account.views import ReauthenticateView
from allauth.mfa.base.views import AuthenticateView, IndexView
from allauth.mfa.base.views import ReauthenticateView as SecondFactorReauthenticateView
from allauth.mfa.recovery_codes.views import GenerateRecoveryCodesView, ViewRecoveryCodesView
from allauth.mfa.totp.views import ActivateTOTPView, DeactivateTOTPView
from allauth.socialaccount.models import SocialAccount
from allauth.socialaccount.providers.openid_connect import views as openid_connect
from django import forms
from django.conf import settings
from django.contrib import admin
from django.contrib.auth.forms import AuthenticationForm as DjangoAuthenticationForm
from django.contrib.auth.views import LoginView
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import redirect, render
from django.urls import reverse
from requests import RequestException
from unfold.forms import AuthenticationForm

from glyphforge.staff.adapters import remember_second_factor

logger = logging.getLogger(__name__)


class BackOfficePage:
    """Adds what Unfold's layouts need."""

    title = ""
    intro = ""
    button = ""
    request: HttpRequest

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        """What the view says itself, over the page's texts, over what every admin page has."""
        context = super().get_context_data(**kwargs)  # type: ignore[misc]
        texts = {"title": self.title, "intro": self.intro, "button": self.button}
        return admin.site.each_context(self.request) | texts | context


class SignIn(BackOfficePage, LoginView):
    """Name and password; what follows (second factor, session) is django-allauth's staged login."""

    title = "Log in"
    template_name = "staff/login.html"
    authentication_form = AuthenticationForm

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        """Send whoever may use the admin already to its first page."""
        if request.method == "GET" and admin.site.has_permission(request):
            return redirect("admin:index")
        return super().dispatch(request, *args, **kwargs)

    def form_valid(self, form: DjangoAuthenticationForm) -> HttpResponse:
        """Begin django-allauth's login, which asks for the second factor before there is a session."""
        user = form.get_user()
        login = Login(user=user, redirect_url=self.get_redirect_url() or reverse("admin:index"))
        return perform_password_login(self.request, {"username": user.get_username()}, login)

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        """Add what the admin's own template of the page reads, and whether single sign-on is offered."""
        return super().get_context_data(
            app_path=self.request.get_full_path(),
            username=self.request.user.get_username(),
            single_sign_on=bool(settings.STAFF_OIDC_ISSUER),
            **kwargs,
        )


class SecondFactor(BackOfficePage, AuthenticateView):
    """The code that completes a sign-in."""

    title = "Second factor"
    button = "Log in"
    template_name = "staff/form.html"

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        """Add the way back to the sign-in page."""
        return super().get_context_data(cancel_url=reverse("admin:login"), **kwargs)


class PasswordAgain(BackOfficePage, ReauthenticateView):
    """The password, once more."""

    title = "Confirm that it is you"
    button = "Confirm"
    template_name = "staff/form.html"


class SecondFactorAgain(BackOfficePage, SecondFactorReauthenticateView):
    """A code, once more."""

    title = "Confirm that it is you"
    button = "Confirm"
    template_name = "staff/form.html"


class Enrol(BackOfficePage, ActivateTOTPView):
    """Sets up the authenticator app; ends with the recovery codes."""

    title = "Set up your second factor"
    template_name = "staff/enrol.html"

    def form_valid(self, form: forms.Form) -> HttpResponse:
        """Count the code that proves the app for this session too, so that none is asked for again at once."""
        response = super().form_valid(form)
        remember_second_factor(self.request)
        return response

    def get_success_url(self) -> str:
        """The recovery codes, which are shown only now."""
        return reverse("mfa_view_recovery_codes")


class Remove(BackOfficePage, DeactivateTOTPView):
    """Takes the second factor off one's own account; where it is required, the next page asks for a new one."""

    title = "Remove your second factor"
    intro = "Your authenticator app and your recovery codes stop working."
    button = "Remove"
    template_name = "staff/form.html"

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        """Add the way back to one's own security page."""
        return super().get_context_data(cancel_url=reverse("mfa_index"), **kwargs)


class Security(BackOfficePage, IndexView):
    """One's own second factor and single sign-on."""

    title = "Sign-in and security"
    template_name = "staff/security.html"

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        """Add whether single sign-on is offered and connected, and whether a second factor is required."""
        return super().get_context_data(
            single_sign_on=bool(settings.STAFF_OIDC_ISSUER),
            connected=SocialAccount.objects.filter(user=self.request.user).exists(),
            second_factor_required=settings.STAFF_SECOND_FACTOR_REQUIRED,
            **kwargs,
        )


class RecoveryCodes(BackOfficePage, ViewRecoveryCodesView):
    """The codes that replace a lost phone, shown once."""

    title = "Recovery codes"
    template_name = "staff/recovery_codes.html"


class NewRecoveryCodes(BackOfficePage, GenerateRecoveryCodesView):
    """Replaces the recovery codes."""

    title = "New recovery codes"
    intro = "The codes you have now stop working."
    button = "Make new codes"
    template_name = "staff/form.html"

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        """Add the way back to one's own security page."""
        return super().get_context_data(cancel_url=reverse("mfa_index"), **kwargs)


def _handle_unreachable_issuer(view: Callable[..., HttpResponse]) -> Callable[[HttpRequest, str], HttpResponse]:
    """allauth lets an issuer that cannot be reached end in a server error."""

    def guarded(request: HttpRequest, provider_id: str) -> HttpResponse:
        try:
            return view(request, provider_id)
        except RequestException as error:
            logger.warning("The issuer of single sign-on cannot be reached: %s", type(error).__name__)
            return refused(request, "Single sign-on did not work: its issuer cannot be reached.", status=503)

    return guarded


single_sign_on = _handle_unreachable_issuer(openid_connect.login)
single_sign_on_callback = _handle_unreachable_issuer(openid_connect.callback)


def refused(request: HttpRequest, message: str, status: int = 403) -> HttpResponse:
    """A page that says why a sign-in came to nothing."""
    context = admin.site.each_context(request) | {"title": "Not signed in", "message": message}
    return render(request, "staff/refused.html", context, status=status)


def locked_out(request: HttpRequest, response: HttpResponse | None = None, *args: Any) -> HttpResponse:
    """django-axes' answer to whoever has failed too often. The same whether or not the account exists.

    Why it is the same:
    https://cheatsheetseries.owasp.org/cheatsheets/Authentication_Cheat_Sheet.html#authentication-and-error-messages
    """
    minutes = int(settings.AXES_COOLOFF_TIME.total_seconds() // 60)
    return refused(request, f"Too many failed attempts. Try again in {minutes} minutes.", status=429)
