"""Single sign-on against an issuer on this machine."""

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from allauth.socialaccount.models import SocialAccount, SocialToken
from django.contrib.auth.models import Group, User
from django.test import Client

from glyphforge.audit.models import AuditEntry
from tests.support.issuer import CLIENT_ID, CLIENT_SECRET, Issuer
from tests.support.sign_in import Codes, enrol, log_in

pytestmark = pytest.mark.django_db
GRACE = {"sub": "sub-grace", "email": "grace@example.com", "cognito:groups": ["glyph-support", "unrelated"]}


@pytest.fixture
def issuer(settings: Any) -> Iterator[Issuer]:
    running = Issuer(claims=dict(GRACE))
    settings.STAFF_OIDC_ISSUER = running.url
    settings.STAFF_OIDC_GROUPS = {"glyph-support": "support", "glyph-audit": "auditor"}
    app = {
        "provider_id": "sso",
        "name": "single sign-on",
        "client_id": CLIENT_ID,
        "secret": CLIENT_SECRET,
        "settings": {"server_url": running.url, "fetch_userinfo": False},
    }
    settings.SOCIALACCOUNT_PROVIDERS = {"openid_connect": {"OAUTH_PKCE_ENABLED": True, "APPS": [app]}}
    for role in ("support", "auditor"):
        Group.objects.get_or_create(name=role)
    yield running
    running.close()


def sign_in(client: Client, issuer: Issuer, query: str = "") -> Any:
    location = client.get(f"/admin/login/sso/{query}").url
    assert location.startswith(f"{issuer.url}/authorize?")
    return client.get(issuer.authorize(location))


def roles(user: User) -> list[str]:
    return sorted(user.groups.values_list("name", flat=True))


def test_the_button_is_there_only_when_configured(client: Client, issuer: Issuer, settings: Any) -> None:
    assert "/admin/login/sso/" in client.get("/admin/login/").content.decode()
    settings.STAFF_OIDC_ISSUER = ""
    assert "/admin/login/sso/" not in client.get("/admin/login/").content.decode()
    settings.SOCIALACCOUNT_PROVIDERS = {}
    assert client.get("/admin/login/sso/").status_code == 404


def test_the_first_sign_in_creates_an_account_with_the_mapped_roles(client: Client, issuer: Issuer) -> None:
    assert sign_in(client, issuer).url == "/admin/"
    user = User.objects.get()
    assert (user.username, user.is_staff, user.is_superuser) == ("grace@example.com", True, False)
    assert not user.has_usable_password()
    assert roles(user) == ["support"]
    assert client.get("/admin/").status_code == 200
    entries = AuditEntry.objects.filter(table_name="auth_user").order_by("id")
    assert list(entries.values_list("action", "actor", "actor_kind")) == [
        ("insert", "single sign-on", "system"),
        ("update", "single sign-on", "system"),
        ("set_roles", "single sign-on", "system"),
        ("sign_in", "grace@example.com", "staff"),
    ]


def test_roles_follow_the_groups_at_each_sign_in(client: Client, issuer: Issuer) -> None:
    sign_in(client, issuer)
    client.logout()
    issuer.claims["cognito:groups"] = ["glyph-audit"]
    sign_in(client, issuer)
    assert roles(User.objects.get()) == ["auditor"]
    entry = AuditEntry.objects.filter(action="set_roles").latest("id")
    assert (entry.old_values, entry.new_values) == ({"roles": ["support"]}, {"roles": ["auditor"]})


def test_someone_in_no_group_is_refused_and_loses_the_roles(client: Client, issuer: Issuer) -> None:
    sign_in(client, issuer)
    other = Client()
    issuer.claims["cognito:groups"] = []
    assert sign_in(other, issuer).status_code == 403
    user = User.objects.get()
    assert (user.is_staff, roles(user)) == (False, [])
    assert client.get("/admin/").status_code == 302  # the session that is still open can do nothing


def test_a_stranger_in_no_group_gets_no_account(client: Client, issuer: Issuer) -> None:
    issuer.claims["cognito:groups"] = ["unrelated"]
    response = sign_in(client, issuer)
    assert "in no group that may use the back office" in response.content.decode()
    assert not User.objects.exists()


def test_an_account_is_never_taken_over_by_its_address(ada: User, client: Client, issuer: Issuer) -> None:
    issuer.claims |= {"email": "ADA@example.com", "email_verified": True}
    response = sign_in(client, issuer)
    assert response.status_code == 403
    assert "Log in to it with its password and connect" in response.content.decode()
    assert User.objects.count() == 1
    assert not SocialAccount.objects.exists()


def test_accounts_without_an_address_are_nobodys_namesake(client: Client, issuer: Issuer) -> None:
    User.objects.create_user("cron")
    del issuer.claims["email"]
    assert sign_in(client, issuer).url == "/admin/"
    assert User.objects.count() == 2


def test_an_account_is_connected_by_its_owner(ada: User, client: Client, issuer: Issuer) -> None:
    issuer.claims["email"] = "ada@example.com"
    log_in(client)
    assert sign_in(client, issuer, "?process=connect").url == "/admin/security/"
    client.logout()
    assert sign_in(client, issuer).url == "/admin/"
    assert client.session["_auth_user_id"] == str(ada.pk)


def test_an_account_that_is_switched_off_stays_out(client: Client, issuer: Issuer) -> None:
    sign_in(client, issuer)
    client.logout()
    User.objects.update(is_active=False)
    assert sign_in(client, issuer).status_code == 403
    assert "_auth_user_id" not in client.session


def test_the_second_factor_is_asked_for_after_single_sign_on_too(
    client: Client, issuer: Issuer, settings: Any, app: Codes
) -> None:
    settings.STAFF_SECOND_FACTOR_REQUIRED = True
    sign_in(client, issuer)
    assert client.get("/admin/").url.startswith("/admin/security/set-up/")
    secret, _ = enrol(client, app)
    client.logout()
    assert sign_in(client, issuer).url == "/admin/login/code/"
    assert client.post("/admin/login/code/", {"code": app(secret)}).url == "/admin/"


@pytest.mark.parametrize(
    "fault",
    [
        *("audience", "expired", "issuer", "state", "replay", "no pkce", "no exp", "no sub", "odd sub", "no nonce"),
        *("nonce of another session", "several audiences", "another client's", "no aud"),
    ],
)
def test_a_forged_or_stale_answer_is_refused(fault: str, client: Client, issuer: Issuer) -> None:
    location = client.get("/admin/login/sso/").url
    callback = issuer.authorize(location)
    if fault == "audience":
        issuer.audience = "another-application"
    elif fault == "expired":
        issuer.lifetime = -60
    elif fault == "issuer":
        issuer.claims["iss"] = "https://evil.example"
    elif fault == "state":
        callback = callback.replace("state=", "state=x")
    elif fault == "replay":
        client.get(callback)
        client.logout()
        User.objects.all().delete()
    elif fault in {"no exp", "no sub", "no nonce", "no aud"}:
        issuer.without = (fault.removeprefix("no "),)
    elif fault == "odd sub":
        issuer.claims["sub"] = 7
    elif fault == "nonce of another session":
        issuer.claims["nonce"] = "stolen"
    elif fault == "several audiences":
        issuer.claims["aud"] = [CLIENT_ID, "another-application"]
    elif fault == "another client's":
        issuer.claims["azp"] = "another-application"
    elif fault == "no pkce":
        issuer.challenges = dict.fromkeys(issuer.challenges, "stolen")
    response = client.get(callback)
    assert response.status_code == 403
    assert "Single sign-on did not work" in response.content.decode()
    assert not User.objects.exists()


def test_an_issuer_that_is_down_is_a_clear_refusal(client: Client, issuer: Issuer) -> None:
    issuer.close()
    response = client.get("/admin/login/sso/")
    assert response.status_code in {403, 502, 503}
    assert "did not work" in response.content.decode()


def test_token_for_several_that_was_made_for_us_is_taken(client: Client, issuer: Issuer) -> None:
    issuer.claims |= {"aud": [CLIENT_ID, "another-application"], "azp": CLIENT_ID}
    assert sign_in(client, issuer).url == "/admin/"


@pytest.mark.parametrize("odd", [7, ["x"], {"a": 1}, None, True])
def test_odd_claims_are_no_server_error(client: Client, issuer: Issuer, odd: Any) -> None:
    names = ("email", "name", "given_name", "family_name", "preferred_username", "picture", "groups")
    issuer.claims |= dict.fromkeys(names, odd)
    assert sign_in(client, issuer).url == "/admin/"


def test_nobody_becomes_a_program_by_a_name_of_their_choice(client: Client, issuer: Issuer) -> None:
    issuer.claims["preferred_username"] = "stripe"
    del issuer.claims["email"]
    sign_in(client, issuer)
    assert User.objects.get().username == "sso-sub-grace"


def test_two_tabs_sign_in_at_once(client: Client, issuer: Issuer) -> None:
    callbacks = [issuer.authorize(client.get("/admin/login/sso/").url) for _ in range(2)]
    assert [client.get(callback).status_code for callback in callbacks] == [302, 302]


class TestWithinTheHour:
    @pytest.fixture
    def later(self, monkeypatch: pytest.MonkeyPatch) -> list[float]:
        """The minutes that have passed for what looks at groups."""
        passed = [0.0]
        monkeypatch.setattr("glyphforge.staff.sso.time", SimpleNamespace(time=lambda: 60 * passed[0]))
        return passed

    def test_groups_are_shown_again_and_nobody_notices(
        self, client: Client, issuer: Issuer, later: list[float], settings: Any, app: Codes
    ) -> None:
        settings.STAFF_SECOND_FACTOR_REQUIRED = True
        sign_in(client, issuer)
        enrol(client, app)
        later[0] = 44
        assert client.get("/admin/").status_code == 200
        later[0] = 46
        assert client.post("/admin/security/sessions/end/").url == "/admin/security/"  # what is written is not lost
        location = client.get("/admin/security/").url
        assert location == "/admin/login/sso/?next=%2Fadmin%2Fsecurity%2F"
        issuer.claims["cognito:groups"] = ["glyph-audit"]
        back = client.get(issuer.authorize(client.get(location).url))
        assert back.url == "/admin/security/"
        assert roles(User.objects.get()) == ["auditor"]
        assert client.get("/admin/security/").status_code == 200  # no code is asked for again
        later[0] = 90
        assert client.get("/admin/").status_code == 200

    def test_who_has_lost_the_groups_is_out(self, client: Client, issuer: Issuer, later: list[float]) -> None:
        sign_in(client, issuer)
        later[0] = 61
        assert client.post("/admin/security/sessions/end/").url.startswith("/admin/login/sso/")
        issuer.claims["cognito:groups"] = []
        assert client.get(issuer.authorize(client.get("/admin/login/sso/").url)).status_code == 403
        assert "_auth_user_id" not in client.session

    def test_a_session_by_password_is_not_sent_there(
        self, ada: User, client: Client, issuer: Issuer, later: list[float]
    ) -> None:
        log_in(client)
        later[0] = 300
        assert client.get("/admin/").status_code == 200


def test_no_token_is_kept(client: Client, issuer: Issuer) -> None:
    sign_in(client, issuer)
    assert not SocialToken.objects.exists()
    stored = str(list(SocialAccount.objects.values()))
    assert "eyJ" not in stored
    assert CLIENT_SECRET not in stored
