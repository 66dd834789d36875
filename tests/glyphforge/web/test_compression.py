"""Which answers are compressed: pages, and none that holds a secret."""

import re
from collections.abc import Callable

import pytest
from django.test import Client

GZIP = {"Accept-Encoding": "gzip"}


def test_pages_are_compressed_for_browsers_that_take_it(signed_in: Callable[[str], Client]) -> None:
    support = signed_in("support")
    assert support.get("/admin/", headers=GZIP).headers["Content-Encoding"] == "gzip"
    plain = support.get("/admin/")
    assert "Content-Encoding" not in plain.headers
    assert "Accept-Encoding" in plain.headers["Vary"]


def test_csrf_token_of_a_page_is_another_every_time(client: Client, db: None) -> None:
    """What is compressed beside it has nothing to be measured against."""
    tokens = {re.findall(r'name="csrfmiddlewaretoken" value="(\w+)"', client.get("/admin/login/").content.decode())[0]
              for _ in range(3)}  # fmt: skip
    assert len(tokens) == 3


@pytest.mark.parametrize("path", ["/admin/security/", "/admin/security/set-up/", "/admin/security/recovery-codes/"])
def test_pages_with_secrets_are_sent_as_they_are(path: str, signed_in: Callable[[str], Client]) -> None:
    answer = signed_in("support").get(path, headers=GZIP, follow=True)
    assert answer.status_code in {200, 404}
    assert "Content-Encoding" not in answer.headers


def test_answers_to_forms_are_sent_as_they_are(client: Client, db: None) -> None:
    """A new API key is in one."""
    answer = client.post("/admin/login/", {"username": "nobody", "password": "wrong"}, headers=GZIP)
    assert len(answer.content) > 1000
    assert "Content-Encoding" not in answer.headers


def test_what_is_no_page_is_sent_as_it_is(client: Client, db: None) -> None:
    answer = client.get("/api/v1/openapi.json", headers=GZIP)
    assert len(answer.content) > 1000
    assert "Content-Encoding" not in answer.headers
