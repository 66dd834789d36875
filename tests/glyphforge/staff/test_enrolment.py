"""Who may set up a first second factor, and who is told of what was done to an account."""

from io import StringIO
from ipaddress import ip_network
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core import mail
from django.core.management import CommandError, call_command
from django.test import Client
from django_q.models import OrmQ
from pytest_django import DjangoCaptureOnCommitCallbacks

from glyphforge.audit.models import AuditEntry
from glyphforge.staff import invitations, notices
from tests.support.sign_in import PASSWORD, Codes, enrol, log_in


@pytest.fixture
def by_link(settings: Any) -> None:
    settings.STAFF_SECOND_FACTOR_REQUIRED = settings.STAFF_INVITATION_REQUIRED = True


def _path(link: str) -> str:
    return "/admin/" + link.partition("/admin/")[2]


def invited(user: User) -> str:
    out = StringIO()
    call_command("invite_staff", user.username, "--reason=starts today, seen in person", stdout=out)
    return _path(out.getvalue().strip())


def test_password_alone_binds_no_phone(ada: User, client: Client, by_link: None, app: Codes) -> None:
    log_in(client)
    for page in ("set-up/", "passkeys/add/"):
        response = client.get(f"/admin/security/{page}")
        assert response.status_code == 403
        assert "Ask an administrator for a link" in response.content.decode()
    assert client.post("/admin/security/set-up/", {"code": "000000"}).status_code == 403


def test_link_sets_up_the_factor_once(ada: User, client: Client, by_link: None, app: Codes) -> None:
    link = invited(ada)
    assert AuditEntry.objects.get(action="invite").reason == "starts today, seen in person"
    response = client.get(link)
    assert response.url.startswith("/admin/login/?next=")
    response = client.post(response.url, {"username": "ada", "password": PASSWORD})
    assert response.url == link
    assert client.get(link).status_code == 200
    enrol(client, app)
    assert client.get("/admin/").status_code == 200
    call_command("reset_second_factor", "ada", "--apply", "--reason=phone lost, seen in person", stdout=StringIO())
    client = Client()
    log_in(client)
    assert client.get(link).status_code == 403


def test_link_is_one_accounts_alone(ada: User, client: Client, by_link: None) -> None:
    eve = User.objects.create_user("eve", password=PASSWORD, is_staff=True)
    log_in(client)
    assert client.get(_path(invitations.link(eve))).status_code == 403


def test_link_dies_with_the_password_it_was_made_for(ada: User, client: Client, by_link: None) -> None:
    link = invited(ada)
    ada.set_password(PASSWORD + "!")
    ada.save()
    log_in(client, password=PASSWORD + "!")
    assert client.get(link).status_code == 403


def test_link_is_not_given_for_nothing(ada: User, client: Client, app: Codes) -> None:
    with pytest.raises(CommandError, match="--reason is needed"):
        call_command("invite_staff", "ada")
    with pytest.raises(CommandError, match="is named 'bob'"):
        call_command("invite_staff", "bob", "--reason=x")
    log_in(client)
    enrol(client, app)
    with pytest.raises(CommandError, match="has a second factor"):
        call_command("invite_staff", "ada", "--reason=x")


class TestNotices:
    @pytest.fixture(autouse=True)
    def _queue(self, db: None) -> None:
        OrmQ.objects.all().delete()

    @staticmethod
    def told() -> list[str]:
        return [each.task["args"][1] for each in OrmQ.objects.order_by("id")]

    def test_owner_is_told_of_a_new_address_once(self, ada: User, client: Client) -> None:
        for address in ("127.0.0.1", "127.0.0.1", "2001:db8::1", "2001:db8::2"):
            log_in(client, REMOTE_ADDR=address)
            client.logout()
        assert self.told() == ["Somebody signed in to your account from a new address."] * 2

    def test_owner_is_told_of_factor_and_password(
        self,
        ada: User,
        client: Client,
        app: Codes,
        django_capture_on_commit_callbacks: DjangoCaptureOnCommitCallbacks,
    ) -> None:
        log_in(client)
        with django_capture_on_commit_callbacks(execute=True):
            enrol(client, app)
        client.post("/admin/security/remove/")
        ada.refresh_from_db()
        ada.set_password(PASSWORD + "!")
        ada.save()
        assert self.told()[1] == "A second factor was added to your account: totp."
        assert "A second factor was removed from your account: totp." in self.told()
        assert self.told()[-1] == "Your password was changed."

    def test_mail_says_what_and_from_where(self, ada: User, client: Client) -> None:
        log_in(client, HTTP_USER_AGENT="Browser/1")
        notices.send(*OrmQ.objects.get().task["args"])
        (sent,) = mail.outbox
        assert sent.to == ["ada@example.com"]
        assert sent.subject == "Glyph Forge back office: Somebody signed in to your account from a new address."
        assert "From: 127.0.0.1\nWith: Browser/1\n" in sent.body
        assert "/admin/security/" in sent.body

    def test_account_without_an_address_signs_in_all_the_same(self, client: Client) -> None:
        User.objects.create_user("bob", password=PASSWORD, is_staff=True)
        assert log_in(client, username="bob").status_code == 302
        assert self.told() == []


def test_sign_in_says_which_factor_was_shown(ada: User, client: Client, app: Codes) -> None:
    log_in(client)
    _, codes = enrol(client, app)
    client.logout()
    log_in(client)
    client.post("/admin/login/code/", {"code": codes[0]})
    shown = AuditEntry.objects.filter(action="sign_in").order_by("id").values_list("new_values", flat=True)
    assert [each["second_factor"] for each in shown] == [None, "recovery_codes"]


@pytest.mark.parametrize(
    ("address", "status"),
    [
        ("198.51.100.7", 302),
        ("::ffff:198.51.100.7", 302),
        ("2001:db8::1", 302),
        ("203.0.113.1", 403),
        ("2001:db9::1", 403),
        ("", 403),
    ],
)
def test_back_office_is_open_to_named_networks_alone(
    client: Client, db: None, settings: Any, address: str, status: int
) -> None:
    settings.STAFF_ADDRESSES = [ip_network("198.51.100.0/24"), ip_network("2001:db8::/32")]
    assert client.get("/admin/", REMOTE_ADDR=address).status_code == status
    assert client.post("/admin/login/", REMOTE_ADDR=address).status_code == (200 if status == 302 else 403)
    assert client.get("/healthz", REMOTE_ADDR=address).status_code == 200
