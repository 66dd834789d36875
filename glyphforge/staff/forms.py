"""The forms of sign-in, as Unfold draws them; every wrong code, passkey and password is counted as a guess."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from allauth.account.forms import ReauthenticateForm as AskPassword
from allauth.core import context
from allauth.core.internal.cryptokit import compare_user_code
from allauth.mfa.base.forms import AuthenticateForm, BaseAuthenticateForm, ReauthenticateForm
from allauth.mfa.models import Authenticator
from allauth.mfa.totp.forms import ActivateTOTPForm
from allauth.mfa.totp.internal import auth as totp
from allauth.mfa.utils import decrypt
from allauth.mfa.webauthn.forms import AddWebAuthnForm, AuthenticateWebAuthnForm, ReauthenticateWebAuthnForm
from django import forms
from django.contrib.auth import authenticate
from django.contrib.auth.models import AbstractBaseUser
from django.contrib.auth.signals import user_login_failed
from django.core.exceptions import ValidationError
from unfold.forms import AdminOwnPasswordChangeForm
from unfold.widgets import BASE_INPUT_CLASSES

from glyphforge.staff.lockout import LockedOut, guess

Cleaned = TypeVar("Cleaned")
SECOND_FACTOR = "glyphforge.staff.second_factor"  # the sender of user_login_failed


def _guessed(user: AbstractBaseUser, clean: Callable[[], Cleaned], use_up: Callable[[Cleaned], None]) -> Cleaned:
    """What `clean()` finds valid and `use_up` did not know yet; a ValidationError of either is a wrong guess."""
    refusals: list[ValidationError] = []

    def evaluate() -> Cleaned | None:
        try:
            found = clean()
            use_up(found)
        except ValidationError as refusal:
            refusals.append(refusal)
            return None
        return found

    credentials = {"username": user.get_username()}
    try:
        found = guess(context.request, user.get_username(), evaluate)
    except LockedOut as error:
        user_login_failed.send(sender=SECOND_FACTOR, credentials=credentials, request=context.request)
        raise ValidationError("Too many wrong codes or passwords.") from error
    if found is None:
        user_login_failed.send(sender=SECOND_FACTOR, credentials=credentials, request=context.request)
        raise refusals[0]
    return found


@contextmanager
def _refusing_odd_answers() -> Iterator[None]:
    """What is no answer of a browser's, fido2 lets end in whatever it stumbles over."""
    try:
        yield
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise ValidationError("This is no passkey.") from error


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
    """A code is accepted once, by whichever process sees it first."""

    authenticator: Authenticator

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["code"].label = "Code from your authenticator app, or a recovery code"

    def clean_code(self) -> str:
        return _guessed(self.user, super().clean_code, self._use_up)

    def _use_up(self, code: str) -> None:
        """Remember the code's time step; the same and earlier ones are refused from now on (RFC 6238, 5.2)."""
        if self.authenticator.type != Authenticator.Type.TOTP:
            return
        authenticator = Authenticator.objects.select_for_update().get(pk=self.authenticator.pk)
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


class AddPasskeyForm(UnfoldFields, AddWebAuthnForm):
    """Names a passkey that the browser has just made."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["name"].help_text = "How you tell it from others, such as the device that holds it."

    def clean(self) -> dict[str, Any]:
        """The name and the passkey; raises ValidationError for what no browser sends."""
        with _refusing_odd_answers():
            cleaned = super().clean() or {}
        if len(cleaned.get("name", "")) > 100:
            raise ValidationError({"name": "The name may have 100 characters."})
        return cleaned


class _Passkey(AuthenticateWebAuthnForm):
    def clean_credential(self) -> Authenticator:
        return _guessed(self.user, self._checked, lambda authenticator: None)

    def _checked(self) -> Authenticator:
        with _refusing_odd_answers():
            return super().clean_credential()


class PasskeyForm(_Passkey):
    """Takes the passkey that completes a sign-in."""


class PasskeyAgainForm(_Passkey, ReauthenticateWebAuthnForm):
    """Takes a passkey before something sensitive."""


class OwnPasswordForm(AdminOwnPasswordChangeForm):
    """Asks for one's old password, as a guess that is counted, and for a new one."""

    def clean_old_password(self) -> str:
        """The old password; raises ValidationError for a wrong one."""
        given: str = self.cleaned_data["old_password"]
        if authenticate(context.request, username=self.user.get_username(), password=given) is None:
            raise ValidationError(self.error_messages["password_incorrect"], code="password_incorrect")
        return given
