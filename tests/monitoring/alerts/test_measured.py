"""The checks that a program measures, and those that no fault of the other tests breaks."""

from collections import namedtuple
from pathlib import Path

import pytest
from django.conf import LazySettings

from glyphforge.checks import production_services, stripe_mode
from monitoring.alerts import measuring
from monitoring.alerts.observation import observe
from monitoring.jobs import controls, schedules
from tests.support import factories
from tests.support.database import session
from tests.support.sql import ago, insert, one, query, run

pytestmark = pytest.mark.django_db
Disk = namedtuple("Disk", "total used free")
GIGABYTE = 1024**3


def measured(check: str) -> tuple[str, str]:
    measuring.measure()
    return health(check)


def health(check: str) -> tuple[str, str]:
    row = one("SELECT status, message FROM v_system_health WHERE check_name = %s", check)
    return row["status"], row["message"]


def test_every_check_is_in_the_list_and_in_the_table_of_thresholds() -> None:
    listed = {row["check_name"]: row for row in query("SELECT * FROM known_checks()")}
    assert listed.keys() == {name for (name,) in run("SELECT check_name FROM health_checks")}
    causes = {cause for row in listed.values() for cause in row["follows_from"]}
    assert causes <= listed.keys()
    views = {name for (name,) in run("SELECT viewname FROM pg_views WHERE schemaname = 'public'")}
    assert {row[key] for row in listed.values() for key in ("measured_by", "alerts_by")} - {None} <= views


def test_alerts_that_go_nowhere_are_a_warning(settings: LazySettings) -> None:
    assert measured("alert_channels")[0] == "warning"
    assert "glyphforge.W004" in [check.id for check in production_services(None)]
    settings.SLACK_WEBHOOK_URL = "https://hooks.example.com/x"
    assert measured("alert_channels") == ("ok", "Alerts go to Slack.")
    assert "glyphforge.W004" not in [check.id for check in production_services(None)]


@pytest.mark.parametrize(
    ("live_mode", "live_key", "status"),
    [
        (False, "", "ok"),
        (True, "rk_live_abcdefgh", "ok"),
        (False, "sk_live_abcdefgh", "critical"),
        (True, "", "critical"),
    ],
)
def test_key_that_does_not_fit_the_mode_is_critical_and_fails_the_check_of_the_deployment(
    settings: LazySettings, live_mode: bool, live_key: str, status: str
) -> None:
    settings.STRIPE_LIVE_MODE, settings.STRIPE_LIVE_SECRET_KEY = live_mode, live_key
    assert measured("stripe_mode")[0] == status
    assert [check.id for check in stripe_mode(None)] == (["glyphforge.E001"] if status == "critical" else [])
    assert "abcdefgh" not in measured("stripe_mode")[1]


def test_endpoint_that_only_gets_events_of_the_other_mode_is_critical(settings: LazySettings) -> None:
    settings.STRIPE_LIVE_MODE = True
    factories.webhook_event(status="ignored", livemode=False)
    assert measured("other_mode_events") == (
        "critical",
        "Of 1 events of the last day none is of live mode: all were ignored.",
    )
    factories.webhook_event(status="processed", livemode=True)
    assert measured("other_mode_events")[0] == "ok"


def test_right_that_the_role_lacks_is_named_with_its_grant() -> None:
    query("CREATE ROLE watch_blind")
    query("GRANT ALL ON ALL TABLES IN SCHEMA public TO watch_blind")
    query("SET LOCAL ROLE watch_blind")
    measuring.measure()
    query("RESET ROLE")
    assert health("missing_rights") == (
        "warning",
        "watch_blind does not see what other sessions do: GRANT pg_read_all_stats TO watch_blind.",
    )


def test_full_disk_is_foretold(settings: LazySettings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    settings.BACKUP_DIR = str(tmp_path)
    used = 50 * GIGABYTE
    monkeypatch.setattr(measuring.shutil, "disk_usage", lambda path: Disk(100 * GIGABYTE, used, 100 * GIGABYTE - used))
    assert measured("disk_used")[0] == "ok"
    assert health("disk_full_in")[0] == "unknown"
    query(
        "INSERT INTO disk_samples (host, place, sampled_at, used_bytes, free_bytes)"
        " SELECT s.host, s.place, s.sampled_at - day * interval '1 day', %s - day * %s::bigint, 0"
        " FROM disk_samples AS s CROSS JOIN generate_series(1, 5) AS day WHERE s.place = 'BACKUP_DIR'",
        used,
        5 * GIGABYTE,
    )
    status, message = health("disk_full_in")
    assert status == "warning"
    assert message.startswith("BACKUP_DIR on ")
    assert "is full in 9 days, by 5120 MB a day" in message or "is full in 10 days, by 5120 MB a day" in message
    used = 91 * GIGABYTE
    assert measured("disk_used")[0] == "critical"


def test_job_that_is_switched_off_is_named_with_since_and_by_whom() -> None:
    schedules.install()
    controls.switch("rollup", on=False, actor="grace", reason="Too slow")
    status, message = health("switched_off_jobs")
    assert status == "warning"
    assert message.startswith("rollup is switched off since ")
    assert message.endswith("+00 by grace.")
    before = one("SELECT switched_off_at FROM job_schedules WHERE job = 'rollup'")
    schedules.mirror("rollup")
    assert one("SELECT switched_off_at FROM job_schedules WHERE job = 'rollup'") == before
    controls.switch("rollup", on=True, actor="grace", reason="Faster now")
    assert health("switched_off_jobs") == ("ok", "Every job is switched on.")


def test_failures_in_a_row_are_counted_from_the_last_success() -> None:
    query("DELETE FROM job_schedules")
    factories.job_schedule()
    insert("job_runs", job="partitions", status="failed", started_at=ago("9 hours"), finished_at=ago("9 hours"))
    insert("job_runs", job="partitions", status="succeeded", started_at=ago("8 hours"), finished_at=ago("8 hours"))
    for hours, status in ((7, "ok"), (6, "ok"), (5, "warning"), (4, "warning"), (3, "warning"), (2, "critical")):
        moment = ago(f"{hours} hours")
        insert("job_runs", job="partitions", status="failed", started_at=moment, finished_at=moment)
        assert health("failures_in_a_row")[0] == status
    assert health("failures_in_a_row")[1] == "partitions failed 6 times in a row."


def test_connections_are_told_by_holder_and_by_what_is_left_of_a_role() -> None:
    query("CREATE ROLE watch_limited LOGIN CONNECTION LIMIT 4")
    assert "watch_limited has 4 of 4 left" in health("role_connections")[1]
    assert " as postgres" in health("connections")[1]


def test_slot_that_keeps_the_log_is_named() -> None:
    assert health("retained_wal") == ("ok", "There is no replication slot.")
    with session(autocommit=True) as other:
        other.execute("SELECT pg_create_physical_replication_slot('of_the_watch', true)")
        try:
            assert health("retained_wal")[1].startswith("Slot of_the_watch (nobody reads it) keeps ")
        finally:
            other.execute("SELECT pg_drop_replication_slot('of_the_watch')")


def test_view_that_is_gone_hides_its_checks_only() -> None:
    query("DROP VIEW v_failed_webhook_events CASCADE")
    status, message = health("failed_webhooks")
    assert status == "unknown"
    assert message.startswith("Cannot be measured: Something that it reads is missing")
    assert health("unmeasured_checks")[0] == "warning"
    assert health("stale_subscriptions")[0] == "ok"
    alerts = {row["alert_type"] for row in query("SELECT alert_type FROM v_alerts")}
    assert "unmeasured_checks" in alerts


@pytest.mark.parametrize(
    ("view", "columns", "hides"),
    [
        ("health_of_limits", "'users_near_limit' AS check_name, 'many' AS value, '' AS message", {"users_near_limit"}),
        (
            "alerts_of_limits",
            "'users_near_limit' AS check_name, 'dire' AS severity, now() AS detected_at",
            {"users_near_limit"},
        ),
        (
            "alerts_of_events",
            "'failed_webhooks' AS check_name, 'soon' AS detected_at",
            {"failed_webhooks", "dead_webhooks"},
        ),
        ("current_silences", "'drift' AS check_name, 'later' AS silenced_until", set()),
    ],
)
def test_view_of_other_types_hides_its_own_checks_only(view: str, columns: str, hides: set[str]) -> None:
    factories.subscription(usage_count=95, monthly_request_limit=100)
    run(f"ALTER VIEW {view} RENAME TO as_it_was")
    run(f"CREATE VIEW {view} AS SELECT {columns}")
    assert observe().unmeasured.keys() == hides
