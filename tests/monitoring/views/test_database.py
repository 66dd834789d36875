"""Sizes, connections and sessions, also as a role that may not see them."""

import time

import pytest

from tests.support import factories
from tests.support.database import session, sleeping
from tests.support.sql import Row, one, query
from tests.support.waiting import wait_for

pytestmark = pytest.mark.django_db


def test_partitions_are_summed_under_their_parent() -> None:
    names = {row["table_name"] for row in query("SELECT table_name FROM v_database_size")}
    assert "api_usage" in names
    assert not [name for name in names if name.startswith("api_usage_2") or name == "api_usage_default"]
    row = one("SELECT * FROM v_database_size WHERE table_name = 'api_usage'")
    assert row["partitions"] >= 5
    assert row["total_bytes"] == row["table_bytes"] + row["index_bytes"] > 0


def test_row_estimate_of_partitions_is_their_sum() -> None:
    factories.requests(factories.customer(), 50)
    query("ANALYZE api_usage")
    assert one("SELECT row_estimate FROM v_database_size WHERE table_name = 'api_usage'") == {"row_estimate": 50}


def test_connections_add_up() -> None:
    with session():
        row = one("SELECT * FROM v_database_connections")
    assert row["total"] >= 2
    assert row["active"] >= 1
    assert float(row["percent_used"]) == pytest.approx(100 * row["total"] / row["max_connections"], abs=0.01)


def seen_long_running(pid: int) -> list[Row]:
    # One transaction sees one snapshot of what others do.
    query("SELECT pg_stat_clear_snapshot()")
    return query("SELECT * FROM v_long_running_queries WHERE pid = %s", pid)


def test_long_running_query_is_listed_with_its_statement() -> None:
    with sleeping() as other:
        (row,) = wait_for(lambda: seen_long_running(other.info.backend_pid))
    assert row["state"] == "active"
    assert row["duration_seconds"] >= 1
    assert "pg_sleep" in row["query"]


def test_statement_in_another_database_of_the_server_is_its_own_affair() -> None:
    query("UPDATE health_checks SET warning_at = 0, critical_at = 0 WHERE check_name = 'idle_in_transaction'")
    with session(dbname="postgres") as other:
        other.execute("SELECT 'somebody else''s'")
        time.sleep(1.2)
        assert not seen_long_running(other.info.backend_pid)
        assert one("SELECT status FROM v_system_health WHERE check_name = 'idle_in_transaction'") == {"status": "ok"}


def test_role_without_privilege_sees_unknown_and_never_nothing() -> None:
    query("CREATE ROLE views_blind")
    query("GRANT SELECT ON v_database_connections, v_long_running_queries TO views_blind")
    with session() as other:
        query("SET LOCAL ROLE views_blind")
        row = one("SELECT * FROM v_database_connections")
        assert row["total"] >= 2
        assert (row["active"], row["idle"], row["idle_in_transaction"]) == (None, None, None)
        hidden = one(
            "SELECT state, duration_seconds FROM v_long_running_queries WHERE pid = %s", other.info.backend_pid
        )
        assert hidden == {"state": "unknown", "duration_seconds": None}
