"""The page of connections: who holds what, who blocks whom, and the means to end it."""

from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import pytest
from django.test import Client

from glyphforge.audit.models import AuditEntry
from glyphforge.database import roles, sessions
from glyphforge.errors import Refused
from monitoring.models import DatabaseSession
from tests.support.admin_pages import CONFIRMED, page_of, row_page
from tests.support.database import session, sleeping
from tests.support.sql import query, scalar
from tests.support.waiting import wait_for

pytestmark = pytest.mark.django_db
PAGE = page_of(DatabaseSession)


@pytest.fixture
def holder() -> Iterator[psycopg.Connection]:
    """A session of a program that holds a lock and has forgotten to commit; its statement has a secret."""
    other = session(application_name="nightly export")
    other.execute("SELECT pg_advisory_xact_lock(42), 'sk_live_abcdefabcdefabcdef' AS password")
    yield other
    other.close()


@pytest.fixture
def blocked(holder: psycopg.Connection) -> Iterator[psycopg.Connection]:
    other = session(application_name="billing run")
    other.pgconn.send_query(b"SELECT pg_advisory_xact_lock(42)")
    wait_for(lambda: of(other).blocked_by)
    yield other
    other.close()


def of(other: psycopg.Connection) -> DatabaseSession:
    query("SELECT pg_stat_clear_snapshot()")
    return DatabaseSession.objects.get(pid=other.info.backend_pid)


def is_there(pid: int) -> bool:
    query("SELECT pg_stat_clear_snapshot()")
    return DatabaseSession.objects.filter(pid=pid).exists()


def test_it_says_who_holds_what_and_who_waits_for_whom(holder: psycopg.Connection, blocked: psycopg.Connection) -> None:
    first, second = of(holder), of(blocked)
    assert (first.application_name, first.state, first.blocks) == (
        "nightly export", "idle in transaction", str(second.pid),
    )  # fmt: skip
    assert (second.state, second.blocked_by, second.wait_event) == ("active", str(first.pid), "Lock: advisory")
    assert first.transaction_since is not None
    assert first.client


def test_list_and_page_show_it_without_secrets(
    holder: psycopg.Connection,
    blocked: psycopg.Connection,
    signed_in: Callable[[str], Client],
    django_assert_max_num_queries: Any,
) -> None:
    operator = signed_in("operator")
    with django_assert_max_num_queries(15):
        listed = operator.get(PAGE)
    assert listed.context["cl"].result_list[0].pid == holder.info.backend_pid  # whoever blocks comes first
    with django_assert_max_num_queries(15):
        page = operator.get(row_page(of(holder))).content.decode()
    for text in (listed.content.decode(), page):
        assert "nightly export" in text
        assert "abcdefabcdef" not in text
    assert "connections of the server are used" in listed.content.decode()
    exported = operator.post(page_of(DatabaseSession, "export_all"), CONFIRMED)
    assert b"nightly export" in exported.content
    assert b"abcdefabcdef" not in exported.content


def test_session_is_ended_after_a_confirmation_with_a_reason(
    holder: psycopg.Connection, signed_in: Callable[[str], Client]
) -> None:
    operator, row = signed_in("operator"), of(holder)
    assert "its locks are free" in operator.get(row_page(row, "end")).content.decode()
    operator.post(row_page(row, "end"), {"confirmed": "yes", "reason": ""})
    assert is_there(holder.info.backend_pid)
    operator.post(row_page(row, "end"), CONFIRMED)
    wait_for(lambda: not is_there(row.pid))
    entry = AuditEntry.objects.get(action="end_session")
    assert (entry.row_id, entry.reason) == (row.session_id, CONFIRMED["reason"])
    assert "nightly export" in str(entry.new_values)


def test_query_is_canceled_and_the_session_stays(signed_in: Callable[[str], Client]) -> None:
    with sleeping() as other:
        wait_for(lambda: of(other).state == "active")
        signed_in("operator").post(row_page(of(other), "cancel"), CONFIRMED)
        wait_for(lambda: of(other).state != "active")
    assert AuditEntry.objects.filter(action="cancel_query").exists()


def test_an_idle_session_has_no_query_to_cancel(holder: psycopg.Connection, signed_in: Callable[[str], Client]) -> None:
    assert "There is nothing to do" in signed_in("operator").get(row_page(of(holder), "cancel")).content.decode()


def test_own_session_and_what_is_gone_are_refused(holder: psycopg.Connection) -> None:
    own = DatabaseSession.objects.get(is_own=True)
    gone, pid = of(holder).session_id, holder.info.backend_pid
    holder.close()
    wait_for(lambda: not is_there(pid))
    for session_id in (own.session_id, gone, "0.0", "", "'; DROP TABLE users --"):
        with pytest.raises(Refused, match="has ended, or belongs to another database"):
            sessions.signal(session_id, "terminate", holder="x", actor="ada", reason="why")
    assert not AuditEntry.objects.filter(action="end_session").exists()


def test_session_of_another_database_is_no_business_of_this_one() -> None:
    with session(dbname="postgres") as other:
        assert not is_there(other.info.backend_pid)
        with pytest.raises(Refused):
            sessions.signal(f"{other.info.backend_pid:x}", "terminate", holder="x", actor="ada", reason="why")
        other.execute("SELECT 1")


def test_a_process_number_that_was_given_again_is_another_session(holder: psycopg.Connection) -> None:
    _, process = of(holder).session_id.split(".")
    with pytest.raises(Refused):
        sessions.signal(f"1.{process}", "terminate", holder="x", actor="ada", reason="why")
    assert is_there(holder.info.backend_pid)


def test_application_role_ends_sessions_by_the_owner_s_right(holder: psycopg.Connection) -> None:
    """And may not without it, which is said."""
    roles.install()
    query("GRANT pg_read_all_stats TO glyphforge_app")
    with session(autocommit=True) as server:
        server.execute("SELECT 1")
        query("SET LOCAL ROLE glyphforge_app")
        with pytest.raises(Refused, match="init --roles"):  # the sessions of this test are a superuser's
            sessions.signal(of(holder).session_id, "terminate", holder="x", actor="ada", reason="why")
        query("RESET ROLE")
    query("SET LOCAL ROLE glyphforge_support")
    with pytest.raises(Refused, match="init --roles"):
        sessions.signal(of(holder).session_id, "terminate", holder="x", actor="ada", reason="why")


def test_owner_may_signal_sessions_of_others() -> None:
    roles.install()
    assert scalar("SELECT pg_has_role('glyphforge_owner', 'pg_signal_backend', 'USAGE')")
    owner = "SELECT proowner::regrole::text FROM pg_proc WHERE proname = 'signal_session'"
    assert scalar(owner) == "glyphforge_owner"
