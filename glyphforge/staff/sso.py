"""Single sign-on by OpenID Connect: who may come in, and with which roles.

An identity is the issuer's subject, never an e-mail address. The groups in its token become roles at every sign-in and
again within each hour of a session; someone whose groups are gone is refused and stripped of roles, and of what they
did nothing is lost. What the token must say is in `glyphforge.staff.id_token`.
"""

import logging
import re
import time
from typing import Any

from allauth.core.exceptions import ImmediateHttpResponse
from allauth.socialaccount.adapter import DefaultSocialAccountAdapter
from allauth.socialaccount.models import SocialLogin
from allauth.socialaccount.providers.base import AuthProcess
from django.conf import settings
from django.contrib.auth import get_user_model, logout
from django.contrib.auth.models import Group, User
from django.db import transaction
from django.http import HttpRequest, HttpResponseRedirect
from django.urls import reverse

from glyphforge import audit
from glyphforge.staff.names import is_reserved
from glyphforge.staff.refusal import refused

logger = logging.getLogger(__name__)
GROUP_CLAIMS = ("cognito:groups", "groups")
CHECKED_AT = "staff_groups_checked_at"  # in a session that single sign-on began
AGAIN_SECONDS = 45 * 60  # when a page that is opened goes by way of the issuer
LATEST_SECONDS = 60 * 60  # when whatever is asked for does
_NOT_CHECKED = frozenset({"login", "logout"})


def is_due(request: HttpRequest) -> bool:
    """Whether this session has to show its groups again before it goes on."""
    checked_at = request.session.get(CHECKED_AT)
    if checked_at is None or request.path_info.removeprefix("/admin/").partition("/")[0] in _NOT_CHECKED:
        return False
    age = time.time() - checked_at
    is_page = request.method == "GET" and request.headers.get("Sec-Fetch-Mode", "navigate") == "navigate"
    return age > (AGAIN_SECONDS if is_page else LATEST_SECONDS)


def groups_checked(request: HttpRequest) -> None:
    """Note in this session, which single sign-on began, that its groups were looked at now."""
    request.session[CHECKED_AT] = time.time()


class SingleSignOn(DefaultSocialAccountAdapter):
    """Lets in whoever the issuer vouches for and whose groups map to a role."""

    def pre_social_login(self, request: HttpRequest, sociallogin: SocialLogin) -> None:
        """Refuse whoever may not come in; raises ImmediateHttpResponse with the page that says why.

        Refused are an account that is switched off, one whose groups map to no role, and a new one whose e-mail address
        another account has. A known account gets the roles of its groups first: who lost all groups loses all roles. An
        identity that signed-in staff connect to their own account passes unchecked; its groups count from the next
        sign-in with it. Whoever is signed in as this account has their groups checked, and goes on where they were.
        """
        if sociallogin.state.get("process") == AuthProcess.CONNECT:
            return
        user: User | None = sociallogin.user if sociallogin.is_existing else None
        roles = roles_of(sociallogin.account.extra_data)
        if user is not None and not user.is_active:
            _refuse(request, sociallogin, "This account is switched off.")
        if user is not None:
            set_roles(user, roles)
        if not roles:
            if user is not None and request.user == user:
                logout(request)
            _refuse(request, sociallogin, "Your account is in no group that may use the back office.")
        if user is not None and request.user == user and CHECKED_AT in request.session:
            groups_checked(request)
            back = sociallogin.get_redirect_url(request) or reverse("admin:index")
            raise ImmediateHttpResponse(HttpResponseRedirect(back))
        address = sociallogin.user.email
        if user is None and address and get_user_model().objects.filter(email__iexact=address).exists():
            _refuse(
                request,
                sociallogin,
                "There is an account with this e-mail address. Log in to it with its password and connect single"
                " sign-on on the page Sign-in and security.",
            )

    def is_open_for_signup(self, request: HttpRequest, sociallogin: SocialLogin) -> bool:
        """Always: whom `pre_social_login` refused never gets this far."""
        return True  # pre_social_login has decided

    def populate_user(self, request: HttpRequest, sociallogin: SocialLogin, data: dict[str, Any]) -> User:
        """Name the account by the e-mail address, else by the subject; django-allauth makes a taken name unique.

        What somebody calls themselves at the issuer could be the name under which a program acts.
        """
        user: User = super().populate_user(request, sociallogin, data)
        address = data.get("email") or ""
        usable = "@" in address and not is_reserved(address)
        subject = re.sub(r"[^\w.@+-]", "-", sociallogin.account.uid)
        user.username = (address if usable else f"sso-{subject}")[:150]
        return user

    def save_user(self, request: HttpRequest, sociallogin: SocialLogin, form: object = None) -> User:
        """Store a new account together with its roles: both or neither."""
        with audit.acting_as(actor="single sign-on", kind="system", reason="First sign-in"), transaction.atomic():
            user: User = super().save_user(request, sociallogin, form)
            set_roles(user, roles_of(sociallogin.account.extra_data))
        return user

    def get_connect_redirect_url(self, request: HttpRequest, socialaccount: object) -> str:
        """Back to the page Sign-in and security, which shows the connection."""
        return reverse("mfa_index")

    def on_authentication_error(
        self,
        request: HttpRequest,
        provider: Any,
        error: str | None = None,
        exception: Exception | None = None,
        extra_context: dict[str, Any] | None = None,
    ) -> None:
        """Raise ImmediateHttpResponse with a page that says so; what went wrong stands in the log alone."""
        logger.warning("Single sign-on failed: %s", type(exception).__name__ if exception else error)
        message = "Single sign-on did not work. Try again, or log in with your password."
        raise ImmediateHttpResponse(refused(request, message))


def roles_of(extra_data: dict[str, Any]) -> set[str]:
    """The names of the Django groups that the token's groups map to, by the setting STAFF_OIDC_GROUPS.

    `extra_data` is what django-allauth keeps of a sign-in: the claims of `id_token`, which win, and of `userinfo`.
    Groups are a list or a single name, in any of GROUP_CLAIMS; one that maps to nothing gives nothing.
    """
    claims = (extra_data.get("userinfo") or {}) | (extra_data.get("id_token") or {})
    groups: set[str] = set()
    for claim in GROUP_CLAIMS:
        value = claims.get(claim) or []
        groups.update([value] if isinstance(value, str) else map(str, value) if isinstance(value, list) else [])
    return {settings.STAFF_OIDC_GROUPS[group] for group in groups if group in settings.STAFF_OIDC_GROUPS}


def set_roles(user: User, roles: set[str]) -> None:
    """Give the user exactly these roles, and write an audit row when that changes anything.

    With a role the user is staff, without one not. A role that is no Django group is logged as an error and left out.
    """
    known = list(Group.objects.filter(name__in=roles))
    if missing := roles - {group.name for group in known}:
        logger.error("Single sign-on maps to roles that do not exist: %s", ", ".join(sorted(missing)))
    before = set(user.groups.values_list("name", flat=True))
    after = {group.name for group in known}
    if before == after and user.is_staff == bool(after):
        return
    with (
        audit.acting_as(actor="single sign-on", kind="system", reason="Groups of single sign-on"),
        transaction.atomic(),
    ):
        user.groups.set(known)
        user.is_staff = bool(after)
        user.save(update_fields=["is_staff"])
        audit.record(
            "set_roles",
            table_name="auth_user",
            row_id=user.pk,
            old_values={"roles": sorted(before)},
            new_values={"roles": sorted(after)},
        )


def _refuse(request: HttpRequest, sociallogin: SocialLogin, message: str) -> None:
    logger.warning("Single sign-on refused for subject %s: %s", sociallogin.account.uid, message)
    raise ImmediateHttpResponse(refused(request, message))
