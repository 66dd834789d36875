"""Password and second factor."""

from io import StringIO
from typing import Any

import pytest
from allauth.mfa.models import Authenticator
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from django.test import Client
from pytest_django import DjangoCaptureOnCommitCallbacks

from glyphforge.audit.models import AuditEntry
from tests.support.sign_in import Codes, enrol, log_in


@pytest.fixture
def required(settings: Any) -> None:
    settings.STAFF_SECOND_FACTOR_REQUIRED = True


def _actions() -> list[str]:
    """What was done, beside the changes of the account's row."""
    entries = AuditEntry.objects.filter(table_name="auth_user").exclude(action__in=["insert", "update"]).order_by("id")
    return [f"{entry.actor} {entry.action}" for entry in entries]


def test_name_and_password_suffice_where_no_second_factor_is_required(ada: User, client: Client) -> None:
    response = log_in(client)
    assert (response.status_code, response.url) == (302, "/admin/")
    assert client.get("/admin/").status_code == 200
    assert _actions() == ["ada sign_in"]


def test_sign_in_returns_to_the_page_asked_for_and_to_no_other_host(ada: User, client: Client) -> None:
    credentials = {"username": "ada", "password": "correct horse battery staple"}
    assert client.get("/admin/auth/user/").url == "/admin/login/?next=/admin/auth/user/"
    assert client.post("/admin/login/?next=/admin/auth/user/", credentials).url == "/admin/auth/user/"
    client.logout()
    assert client.post("/admin/login/?next=https://evil.example/", credentials).url == "/admin/"


def test_customers_and_inactive_staff_cannot_sign_in(ada: User, client: Client) -> None:
    User.objects.update(is_staff=False)
    assert log_in(client).status_code == 200
    User.objects.update(is_staff=True, is_active=False)
    assert log_in(client).status_code == 200
    assert client.get("/admin/").status_code == 302


def test_required_second_factor_is_set_up_before_anything_else_is_reachable(
    ada: User, client: Client, required: None, app: Codes
) -> None:
    log_in(client)
    for path in ("/admin/", "/admin/auth/user/", "/admin/security/", "/admin/password_change/"):
        assert client.get(path).url.startswith("/admin/security/set-up/?next=")
    assert client.post("/admin/auth/user/add/", {}).url.startswith("/admin/security/set-up/")
    _, recovery_codes = enrol(client, app)
    assert len(recovery_codes) == 10
    assert client.get("/admin/").status_code == 200


def test_sign_in_with_a_second_factor_takes_a_code(ada: User, client: Client, required: None, app: Codes) -> None:
    log_in(client)
    secret, _ = enrol(client, app)
    client.logout()

    assert log_in(client).url == "/admin/login/code/"
    assert client.get("/admin/").url.startswith("/admin/login/")
    assert client.post("/admin/login/code/", {"code": "000000"}).status_code == 200
    assert client.post("/admin/login/code/", {"code": app(secret)}).url == "/admin/"
    assert client.get("/admin/").status_code == 200


def test_code_pages_are_out_of_reach_without_the_password(ada: User, client: Client) -> None:
    for path in (
        "/admin/login/code/",
        "/admin/security/",
        "/admin/security/set-up/",
        "/admin/security/recovery-codes/",
    ):
        response = client.get(path)
        assert response.status_code == 302
        assert response.url.startswith("/admin/login/")


def test_a_code_works_once(ada: User, client: Client, app: Codes) -> None:
    log_in(client)
    secret, _ = enrol(client, app)
    client.logout()
    code = app(secret)
    log_in(client)
    assert client.post("/admin/login/code/", {"code": code}).status_code == 302
    client.logout()
    _forget_what_this_process_remembers()
    log_in(client)
    response = client.post("/admin/login/code/", {"code": code})
    assert response.context["form"].errors["code"] == ["This code was used before. Wait for the next one."]


def _forget_what_this_process_remembers() -> None:
    from django.core.cache import cache

    cache.clear()


def test_a_recovery_code_replaces_the_app_once(ada: User, client: Client, app: Codes) -> None:
    log_in(client)
    _, recovery_codes = enrol(client, app)
    for status in (302, 200):
        client.logout()
        log_in(client)
        assert client.post("/admin/login/code/", {"code": recovery_codes[0]}).status_code == status


def test_recovery_codes_are_shown_once(ada: User, client: Client, app: Codes) -> None:
    log_in(client)
    _, recovery_codes = enrol(client, app)
    again = client.get("/admin/security/recovery-codes/").content.decode()
    assert not any(code in again for code in recovery_codes)


def test_a_session_from_before_the_requirement_must_show_a_code(
    ada: User, client: Client, settings: Any, app: Codes
) -> None:
    log_in(client)
    secret, _ = enrol(client, app)
    client.logout()
    client.force_login(ada)
    assert client.get("/admin/").status_code == 200
    settings.STAFF_SECOND_FACTOR_REQUIRED = True
    assert client.get("/admin/").url == "/admin/security/code/?next=%2Fadmin%2F"
    assert client.get("/admin/security/remove/").url.startswith("/admin/security/code/")
    assert client.post("/admin/security/code/?next=/admin/", {"code": app(secret)}).url == "/admin/"
    assert client.get("/admin/").status_code == 200


def test_changing_the_second_factor_takes_a_fresh_proof(
    ada: User, client: Client, app: Codes, monkeypatch: pytest.MonkeyPatch
) -> None:
    log_in(client)
    enrol(client, app)
    monkeypatch.setattr("glyphforge.staff.adapters.RECENT_SECONDS", 0)
    for path in ("remove/", "recovery-codes/", "recovery-codes/new/"):
        response = client.post(f"/admin/security/{path}") if "new" in path else client.get(f"/admin/security/{path}")
        assert response.url.startswith("/admin/security/password/?next="), path
    response = client.post("/admin/security/password/?next=/admin/security/remove/", {"password": "wrong"})
    assert response.status_code == 200
    assert Authenticator.objects.filter(user=ada, type="totp").exists()


def test_secrets_of_the_second_factor_are_encrypted_in_the_database(ada: User, client: Client, app: Codes) -> None:
    log_in(client)
    secret, recovery_codes = enrol(client, app)
    stored = str(list(Authenticator.objects.values_list("data", flat=True)))
    assert secret not in stored
    assert not any(code in stored for code in recovery_codes)


def test_the_second_factor_survives_a_rotation_of_the_secret_key(
    ada: User, client: Client, app: Codes, settings: Any
) -> None:
    log_in(client)
    secret, _ = enrol(client, app)
    settings.SECRET_KEY_FALLBACKS = [settings.SECRET_KEY]
    settings.SECRET_KEY = "another-key-of-fifty-random-characters-0123456789-abc"
    client.logout()
    log_in(client)
    assert client.post("/admin/login/code/", {"code": app(secret)}).status_code == 302

    call_command("reencrypt_second_factors", stdout=StringIO())
    with pytest.raises(CommandError, match="cannot be read with any key"):
        _without_fallbacks(settings)
    settings.SECRET_KEY_FALLBACKS = ["the-suite-signs-nothing-that-leaves-this-machine-0123456789"]
    call_command("reencrypt_second_factors", "--apply", stdout=StringIO())
    _without_fallbacks(settings)
    client.logout()
    log_in(client)
    assert client.post("/admin/login/code/", {"code": app(secret)}).status_code == 302


def _without_fallbacks(settings: Any) -> None:
    settings.SECRET_KEY_FALLBACKS = []
    call_command("reencrypt_second_factors", "--apply", stdout=StringIO())


def test_setting_up_and_removing_the_second_factor_is_audited(
    ada: User, client: Client, app: Codes, django_capture_on_commit_callbacks: DjangoCaptureOnCommitCallbacks
) -> None:
    log_in(client)
    with django_capture_on_commit_callbacks(execute=True):
        enrol(client, app)
    client.post("/admin/security/remove/")
    assert _actions()[1:] == [
        "ada add_second_factor",
        "ada add_second_factor",
        "ada remove_second_factor",
        "ada remove_second_factor",
    ]


def test_a_lost_second_factor_is_reset_with_a_reason(ada: User, client: Client, app: Codes) -> None:
    log_in(client)
    enrol(client, app)
    out = StringIO()
    call_command("reset_second_factor", "ada", stdout=out)
    assert "Would remove recovery_codes, totp of ada" in out.getvalue()
    with pytest.raises(CommandError, match="--reason is needed"):
        call_command("reset_second_factor", "ada", "--apply")
    call_command("reset_second_factor", "ada", "--apply", "--reason=phone lost, seen in person", stdout=out)
    assert not Authenticator.objects.exists()
    entry = AuditEntry.objects.get(action="reset_second_factor")
    assert (entry.row_id, entry.reason) == (str(ada.pk), "phone lost, seen in person")
    with pytest.raises(CommandError, match="has no second factor"):
        call_command("reset_second_factor", "ada")
    with pytest.raises(CommandError, match="No account is named 'bob'"):
        call_command("reset_second_factor", "bob")


@pytest.mark.parametrize("path", ["/admin/login/", "/admin/security/", "/admin/security/set-up/"])
def test_sign_in_pages_are_unfolds_and_load_nothing_from_elsewhere(ada: User, client: Client, path: str) -> None:
    if path != "/admin/login/":
        log_in(client)
    page = client.get(path).content.decode()
    assert "Glyph Forge back office" in page
    assert "unfold/css/styles.css" in page
    assert 'src="http' not in page
    assert "<script>" not in page
