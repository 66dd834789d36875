"""Sessions end when idle and when old."""

from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client

from tests.support.sign_in import log_in

MINUTE = 60


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The seconds that have passed for the middleware."""
    passed = [0.0]
    monkeypatch.setattr("glyphforge.staff.middleware.time.time", lambda: 1_700_000_000 + passed[0])
    return passed


@pytest.fixture
def signed_in(ada: User, client: Client, clock: list[float]) -> Client:
    log_in(client)
    client.get("/admin/")
    return client


def test_an_idle_session_ends_and_says_so(signed_in: Client, clock: list[float]) -> None:
    clock[0] += 31 * MINUTE
    response = signed_in.get("/admin/auth/user/", follow=True)
    assert response.redirect_chain[0][0] == "/admin/login/?next=%2Fadmin%2Fauth%2Fuser%2F"
    assert "signed out after 30 minutes without activity" in response.content.decode()


def test_activity_keeps_a_session_until_it_is_too_old(signed_in: Client, clock: list[float]) -> None:
    for _ in range(12 * 3):
        clock[0] += 20 * MINUTE
        assert signed_in.get("/admin/").status_code == 200
    clock[0] += 1 * MINUTE
    response = signed_in.get("/admin/", follow=True)
    assert "a session lasts at most 12 hours" in response.content.decode()


def test_an_ended_session_changes_nothing_more(signed_in: Client, clock: list[float]) -> None:
    clock[0] += 31 * MINUTE
    response = signed_in.post("/admin/auth/user/add/", {"username": "eve"})
    assert response.url == "/admin/login/?next=%2Fadmin%2F"
    assert not User.objects.filter(username="eve").exists()


def test_the_cookies_are_closed_to_scripts_and_other_sites(ada: User, client: Client, settings: Any) -> None:
    settings.SESSION_COOKIE_SECURE = settings.CSRF_COOKIE_SECURE = True
    client.get("/admin/login/")
    log_in(client)
    session, csrf = client.cookies["sessionid"], client.cookies["csrftoken"]
    assert session["httponly"]
    assert session["secure"]
    assert csrf["secure"]
    assert session["samesite"] == csrf["samesite"] == "Lax"
    assert session["expires"] == ""  # gone with the browser
