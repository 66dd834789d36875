"""How staff sign in: password, authenticator app, and the pages that ask for them."""

from collections.abc import Callable
from typing import Any

import pytest
from allauth.mfa.totp.internal import auth as totp
from django.test import Client

PASSWORD = "correct horse battery staple"
Codes = Callable[[str], str]


def authenticator_app(monkeypatch: pytest.MonkeyPatch) -> Codes:
    """An authenticator app: the current code of a secret, a new one at every call."""
    elapsed = [0]
    clock = totp.time.time
    monkeypatch.setattr(totp.time, "time", lambda: clock() + elapsed[0])

    def code(secret: str) -> str:
        elapsed[0] += 30
        return str(totp.format_hotp_value(totp.hotp_value(secret, int(totp.time.time()) // 30)))

    return code


def log_in(client: Client, password: str = PASSWORD, username: str = "ada", **kwargs: Any) -> Any:
    return client.post("/admin/login/", {"username": username, "password": password}, **kwargs)


def enrol(client: Client, app: Codes) -> tuple[str, list[str]]:
    """Sets up the second factor of a signed-in client; returns the app's secret and the recovery codes."""
    secret = client.get("/admin/security/set-up/").context["form"].secret
    page = client.post("/admin/security/set-up/", {"code": app(secret)}, follow=True)
    return secret, page.context["unused_codes"]
