"""Repeated failures lock out, are counted, and say nothing."""

from datetime import timedelta
from typing import Any

import pytest
from axes.models import AccessAttempt, AccessFailureLog
from django.contrib.auth.models import User
from django.test import Client, RequestFactory

from glyphforge.audit.models import AuditEntry
from glyphforge.staff import lockout
from glyphforge.web import brute_force
from glyphforge.web.brute_force import WINDOW
from glyphforge.web.client_address import client_address, source_of
from glyphforge.web.models import AuthenticationFailure
from tests.support import database
from tests.support.sign_in import PASSWORD, Codes, enrol, log_in
from tests.support.waiting import wait_for_room


def _fail(client: Client, times: int, **kwargs: str) -> None:
    for _ in range(times):
        log_in(client, password="wrong", **kwargs)


def test_five_wrong_passwords_lock_the_account_even_for_the_right_one(ada: User, client: Client) -> None:
    _fail(client, 5)
    response = log_in(client)
    assert response.status_code == 429
    assert "Try again in 15 minutes" in response.content.decode()
    assert client.get("/admin/").status_code == 302


def test_the_lock_follows_the_account_to_other_addresses(ada: User, client: Client) -> None:
    _fail(client, 5)
    assert log_in(client, REMOTE_ADDR="198.51.100.7").status_code == 429


def test_one_address_cannot_try_many_accounts(ada: User, client: Client) -> None:
    for number in range(5):
        log_in(client, password="wrong", username=f"somebody{number}")
    assert log_in(client).status_code == 429
    assert log_in(client, REMOTE_ADDR="198.51.100.7").status_code == 302


def test_the_answer_does_not_tell_whether_an_account_exists(ada: User, client: Client) -> None:
    errors = [
        log_in(client, password="wrong", username=name).context["form"].non_field_errors() for name in ("ada", "nobody")
    ]
    assert errors[0] == errors[1]


def test_the_lock_ends_by_itself(ada: User, client: Client) -> None:
    _fail(client, 5)
    for attempt in AccessAttempt.objects.all():
        attempt.attempt_time -= timedelta(minutes=16)
        attempt.save()
    assert log_in(client).status_code == 302


def test_trying_on_does_not_prolong_the_lock(ada: User, client: Client) -> None:
    _fail(client, 5)
    locked_at = AccessAttempt.objects.get().attempt_time
    _fail(client, 3)
    assert AccessAttempt.objects.get().attempt_time == locked_at


def test_a_success_clears_the_failures(ada: User, client: Client) -> None:
    _fail(client, 4)
    log_in(client)
    client.logout()
    _fail(client, 4)
    assert log_in(client).status_code == 302


def test_wrong_codes_lock_like_wrong_passwords_and_the_password_clears_nothing(
    ada: User, client: Client, app: Codes
) -> None:
    log_in(client)
    secret, _ = enrol(client, app)
    client.logout()
    for _ in range(2):
        log_in(client)  # the right password, in between
        client.post("/admin/login/code/", {"code": "000000"})
        client.post("/admin/login/code/", {"code": "111111"})
    response = client.post("/admin/login/code/", {"code": "222222"})
    assert response.status_code == 429
    assert "_auth_user_id" not in client.session
    client.post("/admin/login/code/", {"code": app(secret)})
    assert "_auth_user_id" not in client.session


def test_failures_are_counted_where_alerts_can_read_them(ada: User, client: Client) -> None:
    wait_for_room(WINDOW.total_seconds(), 20)  # one that ended in between would count anew
    _fail(client, 3)
    log_in(client, password="x", username=PASSWORD)  # a password typed into the wrong field
    rows = AuthenticationFailure.objects.values_list("kind", "source", "failures", "last_subject")
    assert list(rows) == [("staff_password", "127.0.0.1", 4, "no such account")]


@pytest.mark.parametrize(
    ("proxies", "forwarded", "address"),
    [
        (0, "203.0.113.5", "127.0.0.1"),
        (1, "203.0.113.5", "203.0.113.5"),
        (1, "6.6.6.6, 203.0.113.5", "203.0.113.5"),
        (2, "6.6.6.6, 203.0.113.5, 10.0.0.1", "203.0.113.5"),
        (2, "203.0.113.5", "127.0.0.1"),
        (1, "nonsense", "127.0.0.1"),
    ],
)
def test_the_address_is_the_one_our_proxy_saw(proxies: int, forwarded: str, address: str, settings: Any) -> None:
    settings.TRUSTED_PROXIES = proxies
    assert client_address(RequestFactory().get("/", HTTP_X_FORWARDED_FOR=forwarded)) == address


def test_the_lock_goes_by_that_address(ada: User, client: Client, settings: Any) -> None:
    settings.TRUSTED_PROXIES = 1
    log_in(client, password="wrong", HTTP_X_FORWARDED_FOR="6.6.6.6, 203.0.113.5")
    assert AuthenticationFailure.objects.get().source == AccessAttempt.objects.get().ip_address == "203.0.113.5"


def test_own_success_forgives_nobody_elses_failures(ada: User, client: Client) -> None:
    User.objects.create_user("insider", password=PASSWORD, is_staff=True)
    for _ in range(3):
        _fail(client, 1)
        log_in(client, username="insider")
        client.logout()
    assert AccessAttempt.objects.get().failures_since_start == 3
    _fail(client, 2)
    assert log_in(client).status_code == 429


def test_success_elsewhere_forgives_no_stranger(ada: User, client: Client) -> None:
    _fail(client, 4, REMOTE_ADDR="203.0.113.9")
    assert log_in(client).status_code == 302
    _fail(Client(), 1, REMOTE_ADDR="203.0.113.9")
    assert log_in(Client()).status_code == 429


def test_addresses_of_one_line_are_one_source(ada: User, client: Client) -> None:
    for number in range(5):
        log_in(client, password="wrong", username=f"somebody{number}", REMOTE_ADDR=f"2001:db8:1:2::{number:x}")
    assert log_in(client, REMOTE_ADDR="2001:db8:1:2:ffff::1").status_code == 429
    assert log_in(client, REMOTE_ADDR="2001:db8:1:3::1").status_code == 302


@pytest.mark.parametrize(
    ("address", "source"),
    [
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("::ffff:198.51.100.7", "198.51.100.7"),
        ("198.51.100.7", "198.51.100.7"),
        ("unknown", "unknown"),
    ],
)
def test_source_is_what_one_line_has(address: str, source: str) -> None:
    assert source_of(address) == source


def test_keys_too_are_counted_by_line(db: None) -> None:
    for number in range(brute_force.LIMIT):
        brute_force.count_failure(brute_force.Kind.API_KEY, f"2001:db8::{number:x}")
    assert brute_force.is_stopped(brute_force.Kind.API_KEY, "2001:db8::ffff:1")
    assert not brute_force.is_stopped(brute_force.Kind.API_KEY, "2001:db8:0:1::1")


def test_one_guess_is_evaluated_at_a_time(ada: User) -> None:
    request = RequestFactory().post("/")

    def others_wait() -> bool:
        keys = ("staff account ada", "staff source 127.0.0.1")
        with database.session(autocommit=True) as other:
            free = [other.execute("SELECT pg_try_advisory_xact_lock(hashtextextended(%s, 0))", [k]) for k in keys]
            return [each.fetchone() for each in free] == [(False,), (False,)]

    assert lockout.guess(request, "ada", lambda: others_wait() or None)


def test_nothing_is_evaluated_once_locked(ada: User, client: Client) -> None:
    _fail(client, 5)
    with pytest.raises(lockout.LockedOut):
        lockout.guess(RequestFactory().post("/"), "ada", lambda: pytest.fail("it was evaluated"))


@pytest.mark.parametrize(
    ("page", "field"), [("/admin/password_change/", "old_password"), ("/admin/security/password/", "password")]
)
def test_open_session_is_no_way_to_guess_the_password(ada: User, client: Client, page: str, field: str) -> None:
    log_in(client)
    new = {"new_password1": PASSWORD + "!", "new_password2": PASSWORD + "!"}
    statuses = [client.post(page, new | {field: f"wrong {number}"}).status_code for number in range(5)]
    assert statuses == [200, 200, 200, 200, 429]
    assert client.post(page, new | {field: PASSWORD}).status_code in {200, 429}  # allauth's own limit answers first
    assert User.objects.get().check_password(PASSWORD)
    assert AuthenticationFailure.objects.get().last_subject == "ada"


def test_recovery_codes_are_guesses_too(ada: User, client: Client, app: Codes) -> None:
    log_in(client)
    _, codes = enrol(client, app)
    statuses = [client.post("/admin/security/code/", {"code": f"{number:08}"}).status_code for number in range(5)]
    assert statuses[-1] == 429
    client.logout()
    log_in(client)
    assert client.post("/admin/login/code/", {"code": codes[0]}).status_code in {302, 429}
    assert "_auth_user_id" not in client.session


def test_what_is_typed_into_the_field_of_the_name_is_kept_nowhere(ada: User, client: Client) -> None:
    log_in(client, password="x", username="my secret passphrase")
    client.post("/admin/login/?next=/admin/?token=hunter22", {"username": "hunter22", "password": "hunter22"})
    assert not AccessFailureLog.objects.exists()
    kept = str([*AccessAttempt.objects.values(), *AuthenticationFailure.objects.values()])
    assert "passphrase" not in kept
    assert "hunter22" not in kept
    assert {attempt.username[:8] for attempt in AccessAttempt.objects.all()} == {"unknown:"}


def test_lock_out_is_audited_once(ada: User, client: Client) -> None:
    _fail(client, 7)
    entry = AuditEntry.objects.get(action="lock_out")
    assert (entry.row_id, entry.actor, entry.new_values) == (str(ada.pk), "sign-in", {"address": "127.0.0.1"})
