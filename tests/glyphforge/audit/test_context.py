"""The audit context reaches the database's triggers, and never anybody else's statement."""

import json
from concurrent.futures import ThreadPoolExecutor

import pytest
from django.contrib.auth import get_user_model
from django.db import DatabaseError, connection, transaction
from django.http import HttpRequest, HttpResponse
from django.test import RequestFactory

from billing.models import User
from glyphforge.audit import acting_as, current, record
from glyphforge.audit.models import AuditEntry
from glyphforge.web.request_context import AuditActorMiddleware

pytestmark = pytest.mark.django_db


def origins(table: str = "users") -> list[tuple[str, str | None, str | None]]:
    entries = AuditEntry.objects.filter(table_name=table).order_by("id")
    return list(entries.values_list("actor", "reason", "request_id"))


@pytest.fixture
def role() -> str:
    with connection.cursor() as cursor:
        cursor.execute("SELECT session_user")
        return cursor.fetchone()[0]


@pytest.mark.smoke
def test_changes_inside_carry_the_actor_and_changes_after_do_not(role: str) -> None:
    with acting_as(actor="sam", reason="asked for", request_id="r-1"):
        user = User.objects.create(email="a@example.com")
    user.name = "Ada"
    user.save()
    assert origins() == [("sam", "asked for", "r-1"), (role, None, None)]


def test_inner_block_inherits_and_outer_one_comes_back() -> None:
    with acting_as(actor="sam", request_id="r-1"):
        with acting_as(reason="inner"):
            User.objects.create(email="a@example.com")
        User.objects.create(email="b@example.com")
    assert origins() == [("sam", "inner", "r-1"), ("sam", None, "r-1")]


def test_rolled_back_savepoint_does_not_change_who_acts() -> None:
    with acting_as(actor="outer"):
        User.objects.create(email="a@example.com")
        savepoint = transaction.savepoint()
        with acting_as(actor="inner"):
            User.objects.create(email="b@example.com")
        transaction.savepoint_rollback(savepoint)
        User.objects.create(email="c@example.com")
    assert [actor for actor, *_ in origins()] == ["outer", "outer"]


def test_rows_and_row_counts_are_those_of_the_statement() -> None:
    with acting_as(actor="100% o'brien\\"), connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO users (email) VALUES (%s), (%s) RETURNING email", ["a@example.com", "b@example.com"]
        )
        assert cursor.rowcount == 2
        assert cursor.fetchall() == [("a@example.com",), ("b@example.com",)]
        cursor.execute("UPDATE users SET name = '100%'")
        assert cursor.rowcount == 2
        assert cursor.description is None
    assert User.objects.filter(name="100%").count() == 2
    assert {actor for actor, *_ in origins()} == {"100% o'brien\\"}


def test_bulk_statements_and_executemany_carry_the_actor() -> None:
    with acting_as(actor="sam"):
        User.objects.bulk_create([User(email=f"u{number}@example.com") for number in range(3)])
        User.objects.update(name="all")
        with connection.cursor() as cursor:
            cursor.executemany("INSERT INTO users (email) VALUES (%s)", [["x@example.com"], ["y@example.com"]])
            cursor.execute("SELECT fix_orphaned_stripe_customers()")
    assert {actor for actor, *_ in origins()} == {"sam"}
    assert len(origins()) == 8


def test_errors_stay_what_they_are() -> None:
    with acting_as(actor="sam"), pytest.raises(DatabaseError, match="users_email_plausible"), transaction.atomic():
        User.objects.create(email="nobody")


def test_context_belongs_to_its_thread() -> None:
    with acting_as(actor="sam"), ThreadPoolExecutor(1) as pool:
        assert pool.submit(current).result().actor is None


class TestRecord:
    def test_named_operation_is_attributed_and_masked(self) -> None:
        with acting_as(actor="sam", request_id="r-1"):
            row = record(
                "revoke", table_name="api_keys", row_id=7, reason="leaked", new_values={"key_hash": "x", "name": "ci"}
            )
        entry = AuditEntry.objects.get(id=row)
        assert (entry.actor, entry.action, entry.row_id, entry.reason, entry.request_id) == (
            "sam", "revoke", "7", "leaked", "r-1",
        )  # fmt: skip
        assert entry.new_values == {"key_hash": "[masked]", "name": "ci"}
        assert entry.old_values is None

    def test_the_role_stands_in_for_a_missing_actor(self, role: str) -> None:
        assert AuditEntry.objects.get(id=record("drill", table_name="users")).actor == role


class TestWithoutTransaction:
    """Autocommit, as most of a request runs: nothing may stay on the connection."""

    @pytest.fixture(autouse=True)
    def _autocommit(self, transactional_db: None) -> None:
        """Every statement commits."""

    def test_single_statements_carry_the_actor_and_leave_nothing_behind(self, role: str) -> None:
        with acting_as(actor="sam"):
            User.objects.filter(email="nobody@example.com").update(name="")
            User.objects.create(email="a@example.com")
        with connection.cursor() as cursor:
            cursor.execute("SELECT coalesce(current_setting('app.actor', true), '')")
            assert cursor.fetchone() == ("",)
        User.objects.update(name="Ada")
        with acting_as(actor="kim"), transaction.atomic():
            User.objects.update(name="Countess")
        User.objects.update(name="Ada Lovelace")
        assert [actor for actor, *_ in origins()] == ["sam", role, "kim", role]


class TestMiddleware:
    def respond(self, **headers: str) -> dict[str, str | None]:
        request = RequestFactory().get("/", headers=headers)
        request.user = get_user_model()(username="kim")

        def view(request: HttpRequest) -> HttpResponse:
            return HttpResponse(json.dumps({"actor": current().actor, "request_id": current().request_id}))

        response = AuditActorMiddleware(view)(request)
        answer = json.loads(response.content)
        assert response["X-Request-ID"] == answer["request_id"]
        return answer

    def test_signed_in_member_acts_under_the_proxys_request_id(self) -> None:
        assert self.respond(**{"X-Request-ID": "lb-42.a"}) == {"actor": "kim", "request_id": "lb-42.a"}

    @pytest.mark.parametrize("given", ["a\nb", "run-00000000-job-nightly", "Run-7", "evt_1"])
    def test_implausible_request_id_is_replaced(self, given: str) -> None:
        """Also one that reads as a run of a job or an event."""
        request_id = self.respond(**{"X-Request-ID": given})["request_id"]
        assert len(request_id or "") == 32
        assert request_id != given
