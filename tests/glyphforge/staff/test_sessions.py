"""Sessions go on while their rows do, and end when who has them is no longer who they were."""

from io import StringIO
from typing import Any

import pytest
from allauth.mfa.models import Authenticator
from django.contrib.auth.models import User
from django.core.management import call_command
from django.test import Client

from glyphforge.audit.models import AuditEntry
from glyphforge.staff.models import StaffSession
from tests.support import factories
from tests.support.sign_in import PASSWORD, Codes, enrol, log_in
from tests.support.sql import run

NEW = PASSWORD + "!"


@pytest.fixture
def elsewhere(ada: User) -> Client:
    """Another browser in which ada is signed in."""
    client = Client(REMOTE_ADDR="198.51.100.7", HTTP_USER_AGENT="Elsewhere/1")
    log_in(client)
    assert _is_in(client)
    return client


def _is_in(client: Client) -> bool:
    return bool(client.get("/admin/").status_code == 200)


@pytest.fixture
def here(ada: User, client: Client) -> Client:
    log_in(client)
    assert _is_in(client)
    return client


def test_own_new_password_ends_the_others(here: Client, elsewhere: Client) -> None:
    values = {"old_password": PASSWORD, "new_password1": NEW, "new_password2": NEW}
    assert here.post("/admin/password_change/", values).url == "/admin/password_change/done/"
    assert (_is_in(here), _is_in(elsewhere)) == (True, False)


def test_password_set_by_another_ends_all(ada: User, here: Client) -> None:
    ada.set_password(NEW)
    ada.save()
    assert not StaffSession.objects.exists()
    assert not _is_in(here)


def test_removed_factor_ends_the_others_and_counts_no_more(ada: User, here: Client, settings: Any, app: Codes) -> None:
    enrol(here, app)
    elsewhere = Client()
    elsewhere.force_login(ada)
    assert _is_in(elsewhere)
    settings.STAFF_SECOND_FACTOR_REQUIRED = True
    assert _is_in(here)
    assert here.post("/admin/security/remove/").status_code == 302
    assert here.get("/admin/").url.startswith("/admin/security/set-up/")
    assert elsewhere.get("/admin/").url.startswith("/admin/login/")


def test_reset_factor_ends_all(here: Client, app: Codes) -> None:
    enrol(here, app)
    call_command("reset_second_factor", "ada", "--apply", "--reason=phone lost, seen in person", stdout=StringIO())
    assert not _is_in(here)


def test_factor_removed_or_changed_in_psql_ends_all(here: Client, app: Codes) -> None:
    enrol(here, app)
    run("UPDATE mfa_authenticator SET last_used_at = now(), data = data || '{\"last_step\": 7}'")
    assert _is_in(here)
    run("UPDATE mfa_authenticator SET data = data || '{\"secret\": \"mine\"}' WHERE type = 'totp'")
    assert not _is_in(here)


def test_account_that_is_off_and_on_again_is_signed_out(ada: User, here: Client) -> None:
    run("UPDATE auth_user SET is_active = false")
    run("UPDATE auth_user SET is_active = true")
    response = here.get("/admin/", follow=True)
    assert response.redirect_chain[0][0].startswith("/admin/login/")
    assert "this session was ended" in response.content.decode()


def test_sign_in_and_other_changes_end_nothing(ada: User, here: Client, elsewhere: Client) -> None:
    ada.first_name = "Ada"
    ada.save()
    assert (_is_in(here), _is_in(elsewhere)) == (True, True)


def test_own_sessions_are_listed_and_ended(here: Client, elsewhere: Client) -> None:
    page = here.get("/admin/security/").content.decode()
    assert "198.51.100.7" in page
    assert "Elsewhere/1" in page
    assert page.count("This one") == 1
    other = Client()
    other.force_login(factories.staff("support"))
    other.get("/admin/")
    response = here.post("/admin/security/sessions/end/", follow=True)
    assert "1 other session ended." in response.content.decode()
    assert (_is_in(here), _is_in(elsewhere), _is_in(other)) == (True, False, True)
    assert AuditEntry.objects.get(action="end_sessions").new_values == {"sessions": 1}
    assert here.get("/admin/security/sessions/end/").status_code == 405


def test_signing_out_forgets_the_session(ada: User, here: Client) -> None:
    assert here.post("/admin/logout/").status_code == 200
    assert not StaffSession.objects.exists()
    assert AuditEntry.objects.filter(action="sign_out", actor="ada").count() == 1


def test_session_of_another_account_is_no_pass(ada: User, here: Client) -> None:
    """The id of a colleague's session, put into one's own, keeps nothing alive."""
    row = StaffSession.objects.get()
    other = Client()
    other.force_login(factories.staff("support"))
    other.get("/admin/")
    session = other.session
    session["staff_session"] = str(row.pk)
    session.save()
    assert other.get("/admin/").url.startswith("/admin/login/")


@pytest.mark.parametrize(
    "page", ["", "password/", "set-up/", "passkeys/add/", "recovery-codes/", "recovery-codes/new/", "remove/", "code/"]
)
def test_nobody_keeps_pages_that_may_hold_a_secret(here: Client, app: Codes, page: str) -> None:
    if page != "set-up/":
        enrol(here, app)
    response = here.get(f"/admin/security/{page}")
    assert response.status_code == 200
    assert "no-store" in response.headers["Cache-Control"]


def test_recovery_codes_are_made_anew_without_signing_out(here: Client, elsewhere: Client, app: Codes) -> None:
    enrol(here, app)
    here.post("/admin/security/recovery-codes/new/")
    assert Authenticator.objects.filter(type="recovery_codes").exists()
    assert (_is_in(here), _is_in(elsewhere)) == (True, False)
