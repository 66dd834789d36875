"""What people see when something cannot be shown: words, a way on, and nothing that the policy forbids."""

from typing import Any

import pytest
from django.db import transaction
from django.test import Client

from tests.support import factories
from tests.support.sql import run

pytestmark = pytest.mark.django_db


def page_of(response: Any, status: int) -> str:
    assert response.status_code == status
    page: str = response.content.decode()
    assert "glyphforge/error.css" in page
    assert 'href="/admin/"' in page
    assert "<script" not in page
    assert "style=" not in page
    return page


@pytest.fixture
def support() -> Client:
    client = Client(raise_request_exception=False)
    client.force_login(factories.staff("support"))
    return client


def test_unknown_page_offers_the_search_to_those_who_may(support: Client, client: Client) -> None:
    assert "Search for a customer" in page_of(support.get("/admin/nowhere/"), 404)
    assert "Search for a customer" not in page_of(client.get("/nowhere/"), 404)


def test_forbidden_page_says_who_one_is(support: Client) -> None:
    page = page_of(support.get("/admin/monitoring/revenuemetrics/"), 403)
    assert "Your role does not include this" in page
    assert ", in the role support." in page


def test_form_without_its_token_is_explained() -> None:
    client = Client(enforce_csrf_checks=True)
    assert "Nothing was changed." in page_of(client.post("/admin/login/", {"username": "a"}), 403)


def test_error_of_ours_says_that_it_is_ours(support: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*args: Any, **kwargs: Any) -> None:
        raise RuntimeError("broken on purpose")

    monkeypatch.setattr("billing.admin.customer_page.context", broken)
    page = page_of(support.get(f"/admin/billing/user/{factories.customer().pk}/change/"), 500)
    assert "It is our fault" in page
    assert "broken on purpose" not in page


@pytest.mark.parametrize(
    ("statement", "said"),
    [
        ("ALTER VIEW v_database_size RENAME TO gone", "relation &quot;v_database_size&quot; does not exist"),
        ("ALTER VIEW v_database_size RENAME COLUMN dead_rows TO gone", "dead_rows does not exist"),
    ],
)
def test_view_that_was_broken_is_named_with_what_mends_it(support: Client, statement: str, said: str) -> None:
    support.force_login(factories.staff("operator"))
    run(statement)
    with transaction.atomic():
        page = page_of(support.get("/admin/monitoring/databasesize/"), 503)
        transaction.set_rollback(True)
    assert said in page
    assert "database verify --sql" in page
