"""A full disk, of the backups, the logs or the database: told by one message, nothing lost, the rest goes on.

No disk is filled: the limit on a process's files (RLIMIT_FSIZE), /dev/full and a statement that the server refuses for
want of space (53100) say the same at the same places. That it is foretold is in tests/monitoring/alerts/test_measured.
"""

import json
import logging
import os
import time
from pathlib import Path

import pytest
from django.conf import LazySettings
from django.test import Client

from billing.stripe.events import processing
from demo.stripe import recordings
from demo.stripe.deliver import signature
from demo.stripe.world import StripeWorld
from glyphforge.database import backup, manifest
from glyphforge.observability import logs
from monitoring.alerts import measuring
from monitoring.alerts.evaluation import evaluate_alerts
from monitoring.jobs import runner
from monitoring.jobs.functions.alerts import process_alerts
from monitoring.jobs.outcome import JobFailed
from monitoring.models import Alert, JobRun
from monitoring.notifications import dead_mans_switch
from monitoring.notifications.outbox import deliver_notifications
from tests.support import factories, processes, slack
from tests.support.sql import one, query, run, scalar

pytestmark = pytest.mark.django_db
# As manage.py, with files of no more than 8 KiB.
SMALL_FILES = """
import resource, runpy, sys
sys.dont_write_bytecode = True  # a compiled module that is cut breaks whoever starts next
resource.setrlimit(resource.RLIMIT_FSIZE, (8192, 8192))
sys.argv[0] = "manage.py"
runpy.run_path("manage.py", run_name="__main__")
"""


def no_space_for(*tables: str) -> None:
    """From now on the server finds no space for a row of these tables."""
    run(
        "CREATE OR REPLACE FUNCTION no_space() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
        " RAISE EXCEPTION 'could not extend file \"base/16384/16385\": No space left on device'"
        " USING ERRCODE = 'disk_full', HINT = 'Check free disk space.'; END $$"
    )
    for table in tables:
        run(f"CREATE TRIGGER zz_no_space BEFORE INSERT OR UPDATE ON {table} EXECUTE FUNCTION no_space()")


def space_again(*tables: str) -> None:
    for table in tables:
        run(f"DROP TRIGGER zz_no_space ON {table}")


def told(channel: slack.Slack) -> list[str]:
    """What was said of alerts, by message, since the last time."""
    deliver_notifications()
    said = [json.dumps(post) for post in channel.posts]
    channel.posts.clear()
    query("UPDATE notifications SET sent_at = sent_at - interval '1 hour'")  # the next messages are not too many
    return said


@pytest.mark.slow
@pytest.mark.django_db(transaction=True)
def test_backup_that_finds_no_space_is_none_keeps_the_older_and_is_told(tmp_path: Path, settings: LazySettings) -> None:
    settings.BACKUP_DIR = str(tmp_path)
    query("DELETE FROM job_schedules")
    factories.worker()
    older, _ = backup.take()
    before = sorted(tmp_path.iterdir())
    # More than the limit, however well it is packed.
    query("INSERT INTO users (email, name) SELECT n || '@example.com', md5(n::text) FROM generate_series(1, 2000) AS n")
    done = processes.finished("-c", SMALL_FILES, "run_job", "backup", BACKUP_DIR=str(tmp_path), BACKUP_KEEP="1")
    assert done.returncode == 1
    failed = JobRun.objects.get(job="backup")
    assert failed.status == "failed"
    assert "pg_dump" in str(failed.error)
    assert sorted(tmp_path.iterdir()) == before
    assert backup.newest() == older
    with slack.serving() as channel:
        evaluate_alerts()
        evaluate_alerts()
        (message,) = [said for said in told(channel) if "ackup" in said]
        assert "manage.py database backup" in Alert.objects.get(alert_type="failed_backups").remediation
        assert "pg_dump" in message
    taken = runner.run("backup", trigger="manual")
    assert taken.run is not None
    assert manifest.check(Path(taken.run.detail["file"]))
    assert one("SELECT status FROM v_system_health WHERE check_name = 'failed_backups'")["status"] == "ok"


def test_log_folder_that_takes_no_line_stops_nothing_and_is_said_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A disk that is full, then one that is gone, then a folder again."""
    file = tmp_path / "logs" / "glyphforge.log"
    file.parent.mkdir()
    file.symlink_to("/dev/full")
    handler = logs.LogFile(file, delay=True)
    log = logging.getLogger("glyphforge.tests.full_disk")
    log.propagate = False
    log.addHandler(handler)
    log.warning("one")
    log.warning("two")
    file.unlink()
    file.parent.rmdir()
    log.warning("three")
    said = capsys.readouterr().err.splitlines()
    assert said == [
        f"{file} cannot be written: No space left on device.",
        f"{file} cannot be written: No such file or directory.",
    ]
    file.parent.mkdir()
    log.warning("four")
    assert file.read_text() == "four\n"
    assert capsys.readouterr().err == ""


def test_folder_that_cannot_be_written_is_named_until_it_can(tmp_path: Path, settings: LazySettings) -> None:
    folder = tmp_path / "backups"
    settings.BACKUP_DIR, settings.LOG_DIR = str(folder), tmp_path
    measuring.measure()
    row = one("SELECT status, message FROM v_system_health WHERE check_name = 'unwritable_folders'")
    assert row["status"] == "warning"
    assert row["message"] == f"On {os.uname().nodename} nothing can be written to BACKUP_DIR {folder}."
    folder.mkdir()
    measuring.measure()
    assert one("SELECT status FROM v_system_health WHERE check_name = 'unwritable_folders'")["status"] == "ok"


@pytest.mark.django_db(transaction=True)
def test_event_that_finds_no_space_is_stored_once_when_stripe_sends_it_again(
    client: Client, world: StripeWorld
) -> None:
    client.raise_request_exception = False
    recording = recordings.load("signup_paid")
    world.add(recording)
    event = next(event for event in recording.events if event["type"] == "customer.created")
    body = json.dumps(event)
    headers = {"Stripe-Signature": signature(body, "whsec_current", int(time.time()))}

    def post() -> int:
        return client.post("/webhooks/stripe/", body, content_type="application/json", headers=headers).status_code

    no_space_for("stripe_webhook_events")
    assert post() >= 500
    space_again("stripe_webhook_events")
    assert [post(), post()] == [200, 200]
    assert run("SELECT stripe_event_id FROM stripe_webhook_events") == [(event["id"],)]
    no_space_for("users")
    assert processing.process(event["id"]) == "failed"
    assert scalar("SELECT next_retry_at > now() FROM stripe_webhook_events")
    space_again("users")
    run("UPDATE stripe_webhook_events SET next_retry_at = now()")
    assert processing.process(event["id"]) == "processed"


def test_jobs_that_find_no_space_are_one_alert_and_lose_nothing() -> None:
    query("DELETE FROM job_schedules")
    factories.worker()
    factories.forget_older_requests()
    user = factories.customer()
    for job in ("rollup", "sync"):
        factories.job_schedule(job=job)
    factories.subscription(user)
    factories.requests(user, 3)
    tables = ("monthly_usage_totals", "subscriptions")
    no_space_for(*tables)
    for job in ("rollup", "sync"):
        assert runner.run(job, trigger="manual").outcome == "failed"
    assert [row.error for row in JobRun.objects.order_by("job")] == [
        "roll_up_usage: The disk is full.",
        "The disk is full.",
    ]
    # What needs no space of those tables is done.
    assert scalar("SELECT sum(requests) FROM traffic_days") == 3
    with slack.serving() as channel:
        evaluate_alerts()
        evaluate_alerts()
        (message,) = told(channel)
    assert "The disk is full." in message
    space_again(*tables)
    for job in ("rollup", "sync"):
        assert runner.run(job, trigger="manual").outcome == "succeeded"
    assert scalar("SELECT usage_count FROM subscriptions WHERE user_id = %s AND tier <> 'free'", user.pk) == 3
    assert scalar("SELECT total_requests FROM monthly_usage_totals WHERE user_id = %s", user.pk) == 3
    assert scalar("SELECT count(*) FROM api_usage_deltas") == 0


def test_without_space_for_the_alerts_nobody_outside_is_told_that_all_is_well(
    settings: LazySettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So the dead man's switch speaks."""
    settings.HEARTBEAT_URL = "https://hc.example.com/x"
    asked: list[bool] = []
    monkeypatch.setattr(dead_mans_switch, "ask", lambda: asked.append(True))
    factories.webhook_event(status="dead")
    no_space_for("alerts")
    with pytest.raises(JobFailed, match=r"^The alerts cannot be evaluated: The disk is full\.$"):
        process_alerts()
    assert asked == []
    space_again("alerts")
    process_alerts()
    assert asked == [True]
