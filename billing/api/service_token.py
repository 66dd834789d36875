"""Who may call the API: servers that hold a token of `API_SERVICE_TOKENS`."""

import hashlib
import hmac

from django.conf import settings
from django.http import HttpRequest
from ninja.errors import HttpError
from ninja.security import HttpBearer

from glyphforge.web import brute_force
from glyphforge.web.client_address import client_address


class ServiceToken(HttpBearer):
    """A bearer token, one per server, so that one can be replaced without the others."""

    def authenticate(self, request: HttpRequest, token: str) -> str | None:
        """Find the name of the token's holder; None for a wrong token, which counts against the address it came from.

        Compares with every token in constant time. Raises HttpError 429 for an address that goes on failing.
        """
        source = client_address(request) or "unknown"
        presented = hashlib.sha256(token.encode()).digest()
        holder = None
        for name, secret in settings.API_SERVICE_TOKENS.items():
            if hmac.compare_digest(presented, hashlib.sha256(secret.encode()).digest()):
                holder = name
        if holder is None:
            if brute_force.is_stopped(brute_force.Kind.SERVICE_TOKEN, source):
                raise HttpError(429, "Too many wrong service tokens from this address; try again in 20 minutes.")
            brute_force.count_failure(brute_force.Kind.SERVICE_TOKEN, source)
        return holder
