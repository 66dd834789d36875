"""A member of staff, their authenticator app, and a browser without one."""

from collections.abc import Callable
from typing import Any

import pytest
from allauth.mfa.totp.internal import auth as totp
from django.contrib.auth.models import User
from django.test import Client

PASSWORD = "correct horse battery staple"
Codes = Callable[[str], str]


@pytest.fixture
def ada(db: None) -> User:
    return User.objects.create_user("ada", email="ada@example.com", password=PASSWORD, is_staff=True, is_superuser=True)


def authenticator_app(monkeypatch: pytest.MonkeyPatch) -> Codes:
    """An authenticator app: the current code of a secret, a new one at every call."""
    elapsed = [0]
    clock = totp.time.time
    monkeypatch.setattr(totp.time, "time", lambda: clock() + elapsed[0])

    def code(secret: str) -> str:
        elapsed[0] += 30
        return str(totp.format_hotp_value(totp.hotp_value(secret, int(totp.time.time()) // 30)))

    return code


@pytest.fixture
def app(monkeypatch: pytest.MonkeyPatch) -> Codes:
    return authenticator_app(monkeypatch)


def log_in(client: Client, password: str = PASSWORD, username: str = "ada", **kwargs: Any) -> Any:
    return client.post("/admin/login/", {"username": username, "password": password}, **kwargs)


def enrol(client: Client, app: Codes) -> tuple[str, list[str]]:
    """Sets up the second factor of a signed-in client; returns the app's secret and the recovery codes."""
    secret = client.get("/admin/security/set-up/").context["form"].secret
    page = client.post("/admin/security/set-up/", {"code": app(secret)}, follow=True)
    return secret, page.context["unused_codes"]
