"""What an ID token must say before anybody is signed in by it, beyond what django-allauth looks at.

https://openid.net/specs/openid-connect-core-1_0.html#IDTokenValidation
"""

import hmac
import secrets
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

from allauth.socialaccount.models import SocialApp, SocialLogin, SocialToken
from allauth.socialaccount.providers.oauth2.client import OAuth2Error
from allauth.socialaccount.providers.openid_connect.views import OpenIDConnectOAuth2Adapter
from django.http import HttpRequest, HttpResponse

NONCES = "staff_sso_nonces"  # in the session: of each state that was sent to the issuer
KEPT = 5  # tabs that may be on their way at once
TEXTS = ("email", "name", "given_name", "family_name", "preferred_username", "picture")


def with_nonce(request: HttpRequest, response: HttpResponse) -> HttpResponse:
    """The redirect to the issuer with a nonce, which the token has to bring back to this session."""
    location = response.get("Location", "")
    state = parse_qs(urlsplit(location).query).get("state", [""])[0]
    if state:
        nonce = secrets.token_urlsafe(24)
        known = request.session.get(NONCES, {})
        request.session[NONCES] = dict([*known.items(), (state, nonce)][-KEPT:])
        response["Location"] = f"{location}&{urlencode({'nonce': nonce})}"
    return response


class CheckedTokens(OpenIDConnectOAuth2Adapter):
    """Takes whom a complete ID token names that was made for this session of ours; raises OAuth2Error otherwise."""

    def complete_login(self, request: HttpRequest, app: SocialApp, token: SocialToken, **kwargs: Any) -> SocialLogin:
        """The sign-in that the token stands for."""
        if not kwargs["response"].get("id_token"):
            raise OAuth2Error("the issuer sent no ID token")
        try:
            return super().complete_login(request, app, token, **kwargs)
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise OAuth2Error("the ID token is not in order") from error

    def _decode_id_token(self, app: SocialApp, id_token: str) -> dict[str, Any]:
        claims: dict[str, Any] = super()._decode_id_token(app, id_token)
        known = self.request.session.get(NONCES, {})
        expected = known.pop(self.request.GET.get("state", ""), None)
        self.request.session[NONCES] = known
        audience = claims["aud"] if isinstance(claims["aud"], list) else [claims["aud"]]
        if not isinstance(claims.get("exp"), int):
            raise OAuth2Error("the ID token does not say when it expires")
        if not claims.get("sub") or not isinstance(claims["sub"], str):
            raise OAuth2Error("the ID token names no subject")
        if ("azp" in claims or len(audience) > 1) and claims.get("azp") != app.client_id:
            raise OAuth2Error("the ID token was made for another client")
        if not expected or not hmac.compare_digest(str(claims.get("nonce", "")).encode(), expected.encode()):
            raise OAuth2Error("the ID token was not made for this session")
        return {name: value for name, value in claims.items() if name not in TEXTS or isinstance(value, str)}
