"""Each fault turns its check and raises its alert; repairing it resolves both."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from monitoring.alerts.evaluation import evaluate_alerts
from tests.support import factories
from tests.support.database import session, sleeping
from tests.support.faults import FAULTS, Fault
from tests.support.sql import Row, ago, insert, one, query
from tests.support.waiting import wait_for

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _no_schedules() -> None:
    """Those of the template were installed when it was built, and their slots have passed."""
    query("DELETE FROM job_schedules")
    factories.forget_older_requests()
    factories.worker()


@pytest.fixture(autouse=True)
def _forget_rolled_back_rows(_no_schedules: None) -> None:
    """The statistics know the dead rows of the tests before, which no rollback takes back.

    Inside the transaction, in which this session reports none of those any more.
    """
    with session(autocommit=True) as other:
        other.execute("SELECT pg_stat_reset()")


def status(check: str) -> str:
    # One transaction sees one snapshot of what others do.
    query("SELECT pg_stat_clear_snapshot()")
    return str(one("SELECT status FROM v_system_health WHERE check_name = %s", check)["status"])


def alerts(check: str) -> dict[str, str]:
    found = query("SELECT fingerprint, severity FROM v_alerts WHERE alert_type = %s", check)
    return {row["fingerprint"]: row["severity"] for row in found}


def episode(fingerprint: str) -> Row:
    """The alert after as many evaluations as open or close one."""
    for _ in range(2):
        evaluate_alerts()
    return one("SELECT state, severity FROM alerts WHERE fingerprint = %s", fingerprint)


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_fault_is_seen_named_and_resolved(fault: Fault) -> None:
    assert status(fault.check) in {"ok", "unknown"}
    repair, broken = fault.inject()
    assert status(fault.check) == fault.status
    fingerprint = fault.fingerprint(broken)
    assert episode(fingerprint) == {"state": "firing", "severity": fault.severity or fault.status}
    assert alerts(fault.alerts_as) == {fingerprint: fault.severity or fault.status}
    critical = {row["fingerprint"] for row in query("SELECT fingerprint FROM v_critical_alerts")}
    assert (fingerprint in critical) is (fault.status == "critical")
    repair()
    assert status(fault.check) == "ok"
    assert alerts(fault.alerts_as) == {}
    assert episode(fingerprint)["state"] == "resolved"


def test_nothing_is_wrong_with_a_new_database() -> None:
    found = query("SELECT check_name, status, message FROM v_system_health WHERE status NOT IN ('ok', 'unknown')")
    assert found == []
    assert query("SELECT * FROM v_alerts") == []


def test_every_check_has_a_value_thresholds_and_a_remedy() -> None:
    unknown = {row["check_name"] for row in query("SELECT check_name FROM v_system_health WHERE value IS NULL")}
    # No schedule, backup, comparison or evaluation, which measures some, has been seen yet.
    assert unknown == {
        *("overdue_jobs", "failed_jobs", "backup_age", "restore_drill_age", "drift"),
        *("disk_used", "disk_full_in", "alert_channels", "heartbeat_url", "stripe_mode", "other_mode_events"),
        *("missing_rights", "replica_away", "clock_skew", "unwritable_folders"),
    }
    assert query("SELECT check_name FROM v_system_health WHERE message IS NULL OR remediation = ''") == []


@pytest.mark.parametrize(
    ("check", "value"),
    [
        ("stale_subscriptions", (1, 3)),
        ("failed_webhooks", (0, 3)),
        ("error_rate", (None, 50)),
        ("connections", (60, 80)),
        ("orphaned_stripe_customers", (10, None)),
        ("users_near_limit", (80, None)),
        ("idle_in_transaction", (5, 15)),
        ("blocked_sessions", (1, 2)),
        ("wraparound", (50, 75)),
        ("sequences", (75, 90)),
        ("long_running_queries", (1, 5)),
    ],
)
def test_thresholds_are_the_ones_agreed(check: str, value: tuple) -> None:
    row = one("SELECT warning_at, critical_at FROM v_system_health WHERE check_name = %s", check)
    assert tuple(row.values()) == value


def test_a_threshold_itself_is_still_good() -> None:
    factories.requests(factories.customer(), 50, status_code=500)
    user = factories.customer().pk
    factories.requests(user, 80)
    assert (status("error_rate"), status("users_near_limit")) == ("ok", "ok")
    assert alerts("users_near_limit") == {}


def test_changed_threshold_counts_at_once_and_a_disabled_check_is_silent() -> None:
    factories.webhook_event(status="failed", attempts=2, next_retry_at=ago("-1 hour"))
    assert status("failed_webhooks") == "warning"
    query("UPDATE health_checks SET critical_at = 1 WHERE check_name = 'failed_webhooks'")
    assert status("failed_webhooks") == "critical"
    assert set(alerts("failed_webhooks").values()) == {"critical"}
    query("UPDATE health_checks SET is_enabled = false WHERE check_name = 'failed_webhooks'")
    assert query("SELECT 1 FROM v_system_health WHERE check_name = 'failed_webhooks'") == []
    assert alerts("failed_webhooks") == {}


def test_change_of_a_threshold_is_audited() -> None:
    query("UPDATE health_checks SET warning_at = 70 WHERE check_name = 'connections'")
    row = one(
        "SELECT action, old_values, new_values FROM audit_log"
        " WHERE table_name = 'health_checks' AND row_id = 'connections' AND new_values ? 'warning_at'"
    )
    assert tuple(row.values()) == ("update", '{"warning_at": 60}', '{"warning_at": 70}')


def test_critical_threshold_milder_than_the_warning_is_refused() -> None:
    with pytest.raises(Exception, match="health_checks_critical_is_worse"):
        query("UPDATE health_checks SET critical_at = 50 WHERE check_name = 'connections'")


def test_paying_customer_without_key_is_for_information_only() -> None:
    user = factories.subscription().user_id
    assert alerts("paid_users_without_keys") == {f"paid_users_without_keys:{user}": "info"}
    assert status("paid_users_without_keys") == "ok"


def test_fingerprint_stays_while_the_value_changes() -> None:
    factories.webhook_event(status="failed", attempts=1)
    before = alerts("failed_webhooks")
    query("UPDATE stripe_webhook_events SET attempts = 7")
    after = alerts("failed_webhooks")
    assert before.keys() == after.keys()
    assert (set(before.values()), set(after.values())) == ({"warning"}, {"critical"})


def _notice_at_once(check: str) -> None:
    query("UPDATE health_checks SET warning_at = 0, critical_at = 0 WHERE check_name = %s", check)


def test_blocked_session_is_seen_until_it_goes_on() -> None:
    _notice_at_once("blocked_sessions")
    with session() as holder, session() as waiting:
        holder.execute("SELECT pg_advisory_xact_lock(42)")
        waiting.pgconn.send_query(b"SELECT pg_advisory_xact_lock(42)")
        wait_for(lambda: status("blocked_sessions") == "critical")
        row = one("SELECT message FROM v_system_health WHERE check_name = 'blocked_sessions'")
        assert row["message"] == f"process {waiting.info.backend_pid} waits for {holder.info.backend_pid}."
        holder.rollback()
        while waiting.pgconn.get_result():
            pass
        assert status("blocked_sessions") == "ok"


def test_idle_transaction_is_seen_until_it_ends() -> None:
    _notice_at_once("idle_in_transaction")
    with session() as idle:
        idle.execute("SELECT 1")
        wait_for(lambda: status("idle_in_transaction") == "critical")
        idle.rollback()
        assert status("idle_in_transaction") == "ok"


def test_long_statement_is_seen_until_it_ends() -> None:
    _notice_at_once("long_running_queries")
    with sleeping():
        wait_for(lambda: status("long_running_queries") == "critical")
    assert status("long_running_queries") == "ok"


@contextmanager
def bloated_table(options: str = "") -> Iterator[Callable[[str], None]]:
    """A table of 2,500 rows that nobody vacuums; what it yields changes it, and the statistics know at once."""
    with session(autocommit=True) as other:

        def change(statement: str) -> None:
            other.execute(statement.encode())
            other.execute("SELECT pg_stat_force_next_flush()")
            other.execute("SELECT 1")

        change(
            f"CREATE TABLE bloated WITH (autovacuum_enabled = false{options}) AS SELECT generate_series(1, 2500) AS n"
        )
        try:
            yield change
        finally:
            other.execute("DROP TABLE bloated")


def bloated() -> bool:
    """Whether the check names the table; others may have dead rows of tests that were rolled back."""
    query("SELECT pg_stat_clear_snapshot()")
    return "bloated" in one("SELECT message FROM v_system_health WHERE check_name = 'dead_rows'")["message"]


def test_dead_rows_are_seen_until_removed() -> None:
    with bloated_table() as change:
        change("DELETE FROM bloated WHERE n > 800")
        assert status("dead_rows") == "critical"
        assert bloated()
        # Not VACUUM: the transaction of the test itself still might look at these rows.
        change("TRUNCATE bloated")
        assert not bloated()


def test_queue_may_have_as_many_dead_rows_as_its_vacuum_allows() -> None:
    with bloated_table(", autovacuum_vacuum_threshold = 20000") as change:
        change("DELETE FROM bloated")
        assert not bloated()


def test_role_that_may_not_see_gets_unknown_and_never_ok() -> None:
    query("CREATE ROLE health_blind")
    query("GRANT SELECT ON v_system_health TO health_blind")
    query("SET LOCAL ROLE health_blind")
    found = query("SELECT check_name FROM v_system_health WHERE status = 'unknown' ORDER BY 1")
    blind = {row["check_name"] for row in found}
    assert {"idle_in_transaction", "long_running_queries"} <= blind
    assert "connections" not in blind


def test_check_that_nothing_measures_is_unknown_and_raises_nothing() -> None:
    insert("health_checks", check_name="of_the_next_release", title="t", unit="u", warning_at=0, remediation="r")
    assert status("of_the_next_release") == "unknown"
    assert alerts("of_the_next_release") == {}
