"""Links by which a first second factor is set up: one for an account, for a day, until a factor is there.

Without one, whoever has the password first would bind their own phone to the account.
"""

from django.conf import settings
from django.contrib.auth.models import User
from django.contrib.auth.tokens import PasswordResetTokenGenerator
from django.db.models import Max
from django.http import HttpRequest
from django.urls import reverse

from glyphforge.audit.models import AuditEntry

INVITATION = "staff_invitation"  # in the session and in the address


class _Tokens(PasswordResetTokenGenerator):
    """Signed by DJANGO_SECRET_KEY, for PASSWORD_RESET_TIMEOUT; void with another password or once a factor is added."""

    key_salt = "glyphforge.staff.invitations"

    def _make_hash_value(self, user: User, timestamp: int) -> str:
        added = AuditEntry.objects.filter(table_name="mfa_authenticator", action="insert", new_values__user_id=user.pk)
        return f"{user.pk} {user.password} {added.aggregate(Max('id'))} {timestamp}"


_tokens = _Tokens()


def link(user: User) -> str:
    """The address that invites the account to set up its second factor."""
    return f"{settings.BACKOFFICE_URL}{reverse('mfa_activate_totp')}?{INVITATION}={_tokens.make_token(user)}"


def is_invited(request: HttpRequest) -> bool:
    """Whether this session came by a link that still holds, or needs none."""
    if not settings.STAFF_INVITATION_REQUIRED:
        return True
    if given := request.GET.get(INVITATION):
        request.session[INVITATION] = given
    return _tokens.check_token(request.user, request.session.get(INVITATION))  # type: ignore[arg-type]
