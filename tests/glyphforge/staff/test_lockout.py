"""Repeated failures lock out, are counted, and say nothing."""

from datetime import timedelta
from typing import Any

import pytest
from axes.models import AccessAttempt
from django.contrib.auth.models import User
from django.test import Client, RequestFactory

from glyphforge.web.brute_force import WINDOW
from glyphforge.web.client_address import client_address
from glyphforge.web.models import AuthenticationFailure
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
