"""What is shown once, after a redirect: a reload shows it no more, and no form is sent again.

Between the two requests it lies encrypted in the session, under a key that is in the address of the redirect alone:
neither a copy of the database nor a log of addresses shows it.
"""

import base64
import hashlib
import json
import secrets
from typing import Any

from cryptography.fernet import Fernet
from django.http import HttpRequest

_SESSION = "shown_once"


def put(request: HttpRequest, values: dict[str, Any]) -> str:
    """Keep the values, which JSON can hold, for one look; returns what the address needs to name them."""
    name = secrets.token_urlsafe(24)
    request.session[_SESSION] = {_kept_as(name): _cipher(name).encrypt(json.dumps(values).encode()).decode("ascii")}
    return name


def take(request: HttpRequest, name: str) -> dict[str, Any] | None:
    """The values, which are gone then; None where they were looked at before, or are of another session."""
    kept = request.session.pop(_SESSION, {}) if _kept_as(name) in request.session.get(_SESSION, {}) else {}
    token = kept.get(_kept_as(name))
    values: dict[str, Any] | None = json.loads(_cipher(name).decrypt(token.encode())) if token else None
    return values


def _kept_as(name: str) -> str:
    return hashlib.sha256(b"name\0" + name.encode(errors="replace")).hexdigest()


def _cipher(name: str) -> Fernet:
    return Fernet(base64.urlsafe_b64encode(hashlib.sha256(b"key\0" + name.encode(errors="replace")).digest()))
