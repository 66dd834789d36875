"""The audit log holds against the application's role, and no setting opens it to its owner."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from django.db import DatabaseError, connection, transaction

from glyphforge.audit import acting_as, record
from glyphforge.audit.models import AuditEntry
from glyphforge.database import roles
from tests.support import factories
from tests.support.needs import require
from tests.support.sql import ago, insert, query, run, scalar

pytestmark = pytest.mark.django_db


@pytest.fixture
def _application(db: None) -> Iterator[None]:
    require(scalar("SELECT current_setting('is_superuser')") == "on", "a superuser, to create the roles")
    roles.install()
    with connection.cursor() as cursor:
        cursor.execute(f"SET LOCAL ROLE {roles.APPLICATION}")
        yield
        cursor.execute("RESET ROLE")


@contextmanager
def refused(complaint: str) -> Iterator[None]:
    with pytest.raises(DatabaseError, match=complaint), transaction.atomic():
        yield


@pytest.mark.usefixtures("_application")
class TestApplication:
    @pytest.mark.parametrize(
        "statement",
        [
            "INSERT INTO audit_log (actor, action, table_name) VALUES ('admin', 'note', 'users')",
            "INSERT INTO audit_log_default (actor, action, table_name) VALUES ('admin', 'note', 'users')",
            "INSERT INTO read_log (actor, table_name, row_id, db_role) VALUES ('admin', 'users', '1', 'me')",
            "DELETE FROM read_log",
            "DELETE FROM audit_seals",
            "INSERT INTO audit_seals DEFAULT VALUES",
            "SELECT setval('audit_log_id_seq', 1)",
        ],
    )
    def test_it_writes_into_none_of_the_logs(self, statement: str) -> None:
        with refused("permission denied"):
            run(statement)

    def test_it_cannot_have_the_log_cleaned_early(self) -> None:
        with refused("days must be at least 365, not 1"):
            run("SELECT cleanup_audit_log(1)")
        with refused("days must be at least 90, not 89"):
            run("SELECT cleanup_read_log(89)")
        assert run("SELECT cleanup_audit_log(), cleanup_read_log()") == [(0, 0)]

    def test_it_cannot_tell_of_a_retention_that_never_was(self) -> None:
        with refused("what happens to audit_log is recorded by what does it"):
            run("SELECT record_audit('retention', 'audit_log', pg_current_xact_id()::text, NULL, '{}')")

    def test_whatever_it_says_its_rows_bear_time_and_role(self) -> None:
        run("SET LOCAL app.actor = 'admin'; SET LOCAL app.actor_kind = 'owner'")
        written = scalar("SELECT record_audit('note', 'users')")
        (row,) = query("SELECT occurred_at = now() AS now, actor_kind, db_role FROM audit_log WHERE id = %s", written)
        assert row == {"now": True, "actor_kind": "sql", "db_role": scalar("SELECT session_user::text")}


class TestOwner:
    @pytest.mark.parametrize("table", ["audit_log", "audit_log_default"])
    def test_no_setting_lets_rows_go(self, table: str) -> None:
        insert("audit_log", action="note", table_name="users", occurred_at=ago("-400 days"))
        run("SET LOCAL app.audit_retention = 'on'")
        with refused("rows are append-only"):
            run(f"DELETE FROM {table}")

    def test_retention_leaves_a_row_of_its_own(self) -> None:
        insert("audit_log", action="note", table_name="users", occurred_at=ago("400 days"))
        assert scalar("SELECT cleanup_audit_log()") == 1
        entry = AuditEntry.objects.get(action="retention")
        assert entry.table_name == "audit_log"
        assert entry.new_values is not None
        assert (entry.new_values["days"], entry.new_values["rows"]) == (365, 1)
        assert scalar("SELECT cleanup_audit_log()") == 0
        assert AuditEntry.objects.filter(action="retention").count() == 1

    def test_retention_lets_no_younger_row_go(self) -> None:
        insert("audit_log", action="note", table_name="users", occurred_at=ago("400 days"))
        young = insert("audit_log", action="note", table_name="users", occurred_at=ago("300 days"))
        run("SELECT cleanup_audit_log()")
        with refused("rows are append-only"):
            run("DELETE FROM audit_log WHERE id = %s", young["id"])


@pytest.mark.parametrize("kind", ["staff", "system", "api"])
def test_kind_of_the_actor_is_that_of_the_context(kind: str) -> None:
    with acting_as(actor="stripe", kind=kind):
        row = record("note", table_name="users")
        factories.customer()
    assert AuditEntry.objects.get(id=row).actor_kind == kind
    assert set(AuditEntry.objects.filter(table_name="users").values_list("actor_kind", flat=True)) == {kind}


def test_actor_without_a_kind_is_a_program() -> None:
    with acting_as(actor="job:sync"):
        assert AuditEntry.objects.get(id=record("note", table_name="users")).actor_kind == "system"
    assert AuditEntry.objects.get(id=record("note", table_name="users")).actor_kind == "sql"
