"""Passkeys: added, shown at sign-in, of one host alone, counted when wrong, required of superusers where configured."""

from typing import Any

import pytest
from allauth.mfa.models import Authenticator
from django.contrib.auth.models import User
from django.test import Client

from glyphforge.audit.models import AuditEntry
from tests.support.passkey import Passkey
from tests.support.sign_in import Codes, enrol, log_in

ADD = "/admin/security/passkeys/add/"


def add(client: Client, passkey: Passkey) -> Any:
    options = client.get(ADD).context["js_data"]["creation_options"]
    return client.post(ADD, {"name": "laptop", "credential": passkey.made(options)})


def show(client: Client, passkey: Passkey, page: str = "/admin/login/code/") -> Any:
    options = client.get(page).context["js_data"]["request_options"]
    return client.post(page, {"credential": passkey.shown(options)})


@pytest.fixture
def passkey(ada: User, client: Client) -> Passkey:
    """Ada's, who is signed out again."""
    made = Passkey()
    log_in(client)
    assert add(client, made).url == "/admin/security/recovery-codes/"
    client.logout()
    return made


def test_passkey_completes_a_sign_in(passkey: Passkey, client: Client, settings: Any) -> None:
    settings.STAFF_SECOND_FACTOR_REQUIRED = True
    assert log_in(client).url == "/admin/login/code/"
    assert client.get("/admin/").url.startswith("/admin/login/")
    assert show(client, passkey).url == "/admin/"
    assert client.get("/admin/").status_code == 200
    assert AuditEntry.objects.filter(action="sign_in").latest("id").new_values == {
        "how": "password",
        "second_factor": "webauthn",
        "address": "127.0.0.1",
    }


@pytest.mark.parametrize(
    "other",
    [Passkey(), Passkey(host="evil.example"), Passkey(origin="https://testserver.evil.example")],
    ids=["not theirs", "made for another host", "asked for by another page"],
)
def test_other_passkey_opens_nothing_and_counts(passkey: Passkey, client: Client, other: Passkey) -> None:
    other.id, other._key = passkey.id, other._key if other.origin == passkey.origin else passkey._key
    log_in(client)
    statuses = [show(client, other).status_code for _ in range(5)]
    assert statuses == [200, 200, 200, 200, 429]
    assert "_auth_user_id" not in client.session


def test_answer_is_taken_once(passkey: Passkey, client: Client) -> None:
    log_in(client)
    options = client.get("/admin/login/code/").context["js_data"]["request_options"]
    answer = {"credential": passkey.shown(options)}
    assert client.post("/admin/login/code/", answer).url == "/admin/"
    client.logout()
    log_in(client)
    client.get("/admin/login/code/")
    assert client.post("/admin/login/code/", answer).status_code == 200


@pytest.mark.parametrize("credential", ["", "7", "null", "[]", "{}", '{"id": 7}', "x"])
def test_odd_answer_is_a_refusal(passkey: Passkey, client: Client, credential: str) -> None:
    log_in(client)
    client.get("/admin/login/code/")
    assert client.post("/admin/login/code/", {"credential": credential}).status_code == 200


@pytest.mark.parametrize("credential", ["7", "[]", '{"id": 7}'])
def test_odd_passkey_is_not_added(ada: User, client: Client, credential: str) -> None:
    log_in(client)
    client.get(ADD)
    assert client.post(ADD, {"name": "laptop", "credential": credential}).status_code == 200
    assert not Authenticator.objects.exists()


def test_superusers_need_one_where_configured(ada: User, client: Client, settings: Any, app: Codes) -> None:
    settings.STAFF_SECOND_FACTOR_REQUIRED = settings.STAFF_PASSKEYS_REQUIRED = True
    log_in(client)
    assert client.get("/admin/").url.startswith(ADD)
    enrol(client, app)
    assert client.get("/admin/").url.startswith(ADD)
    passkey = Passkey()
    add(client, passkey)
    assert client.get("/admin/").status_code == 200
    client.logout()
    secret_page = log_in(client).url
    assert secret_page == "/admin/login/code/"
    recovery = Authenticator.objects.get(type="recovery_codes").wrap().get_unused_codes()[0]
    client.post("/admin/login/code/", {"code": recovery})
    assert client.get("/admin/").url.startswith("/admin/security/passkey/")
    assert show(client, passkey, "/admin/security/passkey/?next=/admin/").url == "/admin/"
    assert client.get("/admin/").status_code == 200


def test_others_do_without(client: Client, ada: User, settings: Any, app: Codes) -> None:
    settings.STAFF_SECOND_FACTOR_REQUIRED = settings.STAFF_PASSKEYS_REQUIRED = True
    User.objects.update(is_superuser=False)
    log_in(client)
    enrol(client, app)
    assert client.get("/admin/").status_code == 200


def test_who_has_not_shown_a_factor_adds_none(passkey: Passkey, ada: User, client: Client, settings: Any) -> None:
    settings.STAFF_SECOND_FACTOR_REQUIRED = True
    client.force_login(ada)
    assert client.get("/admin/security/set-up/").url.startswith("/admin/security/code/")
    assert client.get(ADD).url.startswith("/admin/security/code/")


def test_passkey_is_listed_and_removed(passkey: Passkey, client: Client) -> None:
    log_in(client)
    show(client, passkey)
    page = client.get("/admin/security/").content.decode()
    assert "Remove the passkey laptop" in page
    row = Authenticator.objects.get(type="webauthn")
    assert client.post(f"/admin/security/passkeys/{row.pk}/remove/").url == "/admin/security/"
    assert not Authenticator.objects.exists()
    assert client.get("/admin/").status_code == 200
