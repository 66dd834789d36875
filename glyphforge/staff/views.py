"""The pages of sign-in and of one's own account: django-allauth decides, these look like the back office."""

import logging
from collections.abc import Callable
from typing import Any

from allauth.account.internal.decorators import login_not_required
from allauth.account.internal.flows.login import perform_password_login
from allauth.account.models import Login
from allauth.account.views import ReauthenticateView
from allauth.mfa.base.views import AuthenticateView, IndexView
from allauth.mfa.base.views import ReauthenticateView as SecondFactorReauthenticateView
from allauth.mfa.recovery_codes.views import GenerateRecoveryCodesView, ViewRecoveryCodesView
from allauth.mfa.totp.views import ActivateTOTPView, DeactivateTOTPView
from allauth.mfa.webauthn.views import AddWebAuthnView, ReauthenticateWebAuthnView, RemoveWebAuthnView
from allauth.socialaccount.models import SocialAccount, SocialApp
from allauth.socialaccount.providers.oauth2.views import OAuth2CallbackView
from allauth.socialaccount.providers.openid_connect import views as openid_connect
from django import forms
from django.conf import settings
from django.contrib import admin, messages
from django.contrib.auth.decorators import login_required
from django.contrib.auth.forms import AuthenticationForm as DjangoAuthenticationForm
from django.contrib.auth.views import LoginView, PasswordChangeView
from django.db import transaction
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import redirect
from django.urls import reverse, reverse_lazy
from django.utils.decorators import method_decorator
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_POST
from requests import RequestException
from unfold.forms import AuthenticationForm

from glyphforge.staff import invitations, sessions
from glyphforge.staff.adapters import has_passed_second_factor, remember_second_factor
from glyphforge.staff.forms import OwnPasswordForm
from glyphforge.staff.id_token import CheckedTokens, with_nonce
from glyphforge.staff.refusal import refused

logger = logging.getLogger(__name__)


class BackOfficePage:
    """Adds what Unfold's layouts need; no browser and no proxy keeps the page, which may hold a secret."""

    title = ""
    intro = ""
    button = ""
    request: HttpRequest

    @method_decorator(never_cache)
    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        """Answer with no-store."""
        response: HttpResponseBase = super().dispatch(request, *args, **kwargs)  # type: ignore[misc]
        return response

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        """What the view says itself, over the page's texts, over what every admin page has."""
        context = super().get_context_data(**kwargs)  # type: ignore[misc]
        texts = {"title": self.title, "intro": self.intro, "button": self.button}
        return admin.site.each_context(self.request) | texts | context


class OthersEnd:
    """Goes on with this session after a change that ended all sessions of the account."""

    request: HttpRequest

    def form_valid(self, form: forms.Form) -> HttpResponse:
        """Carry out the change, and write this session down anew: both or neither."""
        with transaction.atomic():
            response: HttpResponse = super().form_valid(form)  # type: ignore[misc]
            sessions.keep(self.request)
        return response


class _Invited:
    """Sets up a first second factor: of whoever knows the password, not of whoever came first with it."""

    request: HttpRequest

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        """Refuse whoever has no factor yet, and no link of an administrator."""
        has_none = request.user.is_authenticated and not has_passed_second_factor(request)
        if has_none and not invitations.is_invited(request):
            message = "Ask an administrator for a link to set up your second factor: it works once, for a day."
            return refused(request, message)
        response: HttpResponseBase = super().dispatch(request, *args, **kwargs)  # type: ignore[misc]
        return response


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
    """The code, or the passkey, that completes a sign-in."""

    title = "Second factor"
    button = "Log in"
    template_name = "staff/second_factor.html"

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        """Add the way back to the sign-in page, and whether there is a passkey to use."""
        has_passkey = sessions.has_passkey(self.stage.login.user.pk)
        return super().get_context_data(cancel_url=reverse("admin:login"), has_passkey=has_passkey, **kwargs)


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


class PasskeyAgain(BackOfficePage, ReauthenticateWebAuthnView):
    """A passkey, once more."""

    title = "Confirm that it is you"
    button = "Use a passkey"
    template_name = "staff/passkey.html"


class AddPasskey(_Invited, BackOfficePage, AddWebAuthnView):
    """Adds a passkey, which no false page can have: it answers to this host alone."""

    title = "Add a passkey"
    intro = "Your browser asks for a fingerprint, a PIN or a security key. A passkey answers to this address alone."
    button = "Add a passkey"
    template_name = "staff/passkey.html"

    def form_valid(self, form: forms.Form) -> HttpResponse:
        """Count the new passkey for this session too."""
        response: HttpResponse = super().form_valid(form)
        remember_second_factor(self.request, "webauthn")
        return response


class RemovePasskey(OthersEnd, BackOfficePage, RemoveWebAuthnView):
    """Takes a passkey off one's own account."""

    title = "Remove a passkey"
    intro = "It opens nothing here any more. Your other sessions end."
    button = "Remove"
    template_name = "staff/form.html"
    success_url = reverse_lazy("mfa_index")

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        """Add the way back to one's own security page."""
        return super().get_context_data(cancel_url=reverse("mfa_index"), **kwargs)


class Enrol(_Invited, BackOfficePage, ActivateTOTPView):
    """Sets up the authenticator app; ends with the recovery codes."""

    title = "Set up your second factor"
    template_name = "staff/enrol.html"

    def form_valid(self, form: forms.Form) -> HttpResponse:
        """Count the code that proves the app for this session too, so that none is asked for again at once."""
        response = super().form_valid(form)
        remember_second_factor(self.request, "totp")
        return response

    def get_success_url(self) -> str:
        """The recovery codes, which are shown only now."""
        return reverse("mfa_view_recovery_codes")


class Remove(OthersEnd, BackOfficePage, DeactivateTOTPView):
    """Takes the app off one's own account; where a second factor is required, the next page asks for a new one."""

    title = "Remove your second factor"
    intro = "Your authenticator app and your recovery codes stop working. Your other sessions end."
    button = "Remove"
    template_name = "staff/form.html"

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        """Add the way back to one's own security page."""
        return super().get_context_data(cancel_url=reverse("mfa_index"), **kwargs)


class Security(BackOfficePage, IndexView):
    """One's own second factors, single sign-on and sessions."""

    title = "Sign-in and security"
    template_name = "staff/security.html"

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        """Add whether single sign-on is offered and connected, and whether a second factor is required."""
        return super().get_context_data(
            single_sign_on=bool(settings.STAFF_OIDC_ISSUER),
            connected=SocialAccount.objects.filter(user=self.request.user).exists(),
            second_factor_required=settings.STAFF_SECOND_FACTOR_REQUIRED,
            passkeys=sessions.passkeys_of(self.request.user.pk or 0),
            sessions=sessions.open_of(self.request.user.pk or 0),
            this_session=self.request.session.get(sessions.ID),
            **kwargs,
        )


class RecoveryCodes(BackOfficePage, ViewRecoveryCodesView):
    """The codes that replace a lost phone, shown once."""

    title = "Recovery codes"
    template_name = "staff/recovery_codes.html"


class NewRecoveryCodes(OthersEnd, BackOfficePage, GenerateRecoveryCodesView):
    """Replaces the recovery codes."""

    title = "New recovery codes"
    intro = "The codes you have now stop working."
    button = "Make new codes"
    template_name = "staff/form.html"

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        """Add the way back to one's own security page."""
        return super().get_context_data(cancel_url=reverse("mfa_index"), **kwargs)


@method_decorator(login_required, name="dispatch")
class OwnPassword(OthersEnd, BackOfficePage, PasswordChangeView):
    """One's own new password; the old one is a guess that is counted."""

    title = "Change your password"
    intro = "Your other sessions end."
    button = "Change the password"
    template_name = "staff/form.html"
    form_class = OwnPasswordForm
    success_url = reverse_lazy("admin:password_change_done")

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        """Add the way back to one's own security page."""
        return super().get_context_data(cancel_url=reverse("mfa_index"), **kwargs)


@require_POST
@login_required
def end_sessions(request: HttpRequest) -> HttpResponse:
    """Ends all of one's own sessions but this one."""
    ended = sessions.end_others(request)
    messages.success(request, f"{ended} other session{'' if ended == 1 else 's'} ended.")
    return redirect("mfa_index")


def _handle_unreachable_issuer(view: Callable[..., HttpResponse]) -> Callable[[HttpRequest, str], HttpResponse]:
    """allauth lets an issuer that cannot be reached end in a server error."""

    def guarded(request: HttpRequest, provider_id: str) -> HttpResponse:
        try:
            return view(request, provider_id)
        except RequestException as error:
            logger.warning("The issuer of single sign-on cannot be reached: %s", type(error).__name__)
            return refused(request, "Single sign-on did not work: its issuer cannot be reached.", status=503)

    return guarded


def _to_issuer(request: HttpRequest, provider_id: str) -> HttpResponse:
    return with_nonce(request, openid_connect.login(request, provider_id))


@login_not_required
def _from_issuer(request: HttpRequest, provider_id: str) -> HttpResponse:
    try:
        response: HttpResponse = OAuth2CallbackView.adapter_view(CheckedTokens(request, provider_id))(request)
    except SocialApp.DoesNotExist as error:
        raise Http404 from error
    return response


single_sign_on = _handle_unreachable_issuer(_to_issuer)
single_sign_on_callback = _handle_unreachable_issuer(_from_issuer)
