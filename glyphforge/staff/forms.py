"""The forms of sign-in, as Unfold draws them; every wrong code counts towards the lockout."""

from typing import Any

from allauth.account.forms import ReauthenticateForm as AskPassword
from allauth.core import context
from allauth.core.internal.cryptokit import compare_user_code
from allauth.mfa.base.forms import AuthenticateForm, BaseAuthenticateForm, ReauthenticateForm
from allauth.mfa.models import Authenticator
from allauth.mfa.totp.forms import ActivateTOTPForm
from allauth.mfa.totp.internal import auth as totp
from allauth.mfa.utils import decrypt
from axes.handlers.proxy import AxesProxyHandler
from django import forms
from django.contrib.auth.signals import user_login_failed
from django.core.exceptions import ValidationError
from django.db import transaction
from unfold.widgets import BASE_INPUT_CLASSES

SECOND_FACTOR = "glyphforge.staff.second_factor"  # the sender of user_login_failed


class UnfoldFields(forms.Form):
    """Text fields with Unfold's classes, the first one focused."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for index, field in enumerate(self.fields.values()):
            field.widget.attrs["class"] = " ".join(BASE_INPUT_CLASSES)
            field.widget.attrs.pop("placeholder", None)
            if index == 0:
                field.widget.attrs["autofocus"] = ""


class _OneTimeCode(UnfoldFields, BaseAuthenticateForm):
    """A code is accepted once, by whichever process sees it first, and not at all while the account is locked."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["code"].label = "Code from your authenticator app, or a recovery code"

    def clean_code(self) -> str:
        credentials = {"username": self.user.get_username()}
        if not AxesProxyHandler.is_allowed(context.request, credentials):
            raise ValidationError("Too many wrong codes or passwords. Try again in a quarter of an hour.")
        try:
            with transaction.atomic():
                authenticator = (
                    Authenticator.objects.select_for_update()
                    .filter(user=self.user, type=Authenticator.Type.TOTP)
                    .first()
                )
                code: str = super().clean_code()
                if authenticator is not None and self.authenticator.pk == authenticator.pk:
                    self._use_up(authenticator, code)
        except ValidationError:
            user_login_failed.send(sender=SECOND_FACTOR, credentials=credentials, request=context.request)
            raise
        return code

    def _use_up(self, authenticator: Authenticator, code: str) -> None:
        """Remember the code's time step; the same and earlier ones are refused from now on (RFC 6238, 5.2)."""
        secret = decrypt(authenticator.data["secret"])
        step = max(
            counter
            for counter in totp.yield_hotp_counters_from_time()
            if compare_user_code(actual=code, expected=totp.format_hotp_value(totp.hotp_value(secret, counter)))
        )
        if step <= authenticator.data.get("last_step", 0):
            raise ValidationError("This code was used before. Wait for the next one.")
        authenticator.data["last_step"] = step
        authenticator.save(update_fields=["data"])
        self.authenticator = authenticator


class SecondFactorForm(_OneTimeCode, AuthenticateForm):
    """Asks for the code that completes a sign-in."""


class SecondFactorAgainForm(_OneTimeCode, ReauthenticateForm):
    """Asks for a code before something sensitive."""


class PasswordAgainForm(UnfoldFields, AskPassword):
    """Asks for the password before something sensitive."""


class EnrolForm(UnfoldFields, ActivateTOTPForm):
    """Asks for a first code, which proves that the app was set up."""
