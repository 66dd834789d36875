"""The web process looks after the alerts when nobody else does."""

from datetime import timedelta

import pytest
from django.conf import LazySettings
from django.test import Client

from monitoring.jobs import watcher
from monitoring.worker import heartbeat
from tests.support import factories
from tests.support.faults import nothing_wrong
from tests.support.slack import Slack
from tests.support.sql import ago, query, run, scalar

pytestmark = pytest.mark.django_db
CHANGED_MIND = "UPDATE alert_evaluations SET evaluated_at = clock_timestamp() - %s, claimed_until = 'epoch'"


def evaluated(seconds_ago: int, by: str = "worker1") -> None:
    run(CHANGED_MIND + ", evaluated_by = %s", timedelta(seconds=seconds_ago), by)


def test_nothing_is_done_while_the_worker_evaluates() -> None:
    evaluated(120)
    assert not watcher.look()


def test_stopped_worker_is_told_by_one_message(slack: Slack) -> None:
    """What follows from it, a job that is past its time and events that wait, is in the same message."""
    nothing_wrong()
    query("DELETE FROM worker_heartbeats")
    factories.worker(seen_at=ago("3 minutes"), stopped_at=ago("3 minutes"))
    factories.job_schedule(next_due_at=ago("11 minutes"))
    factories.webhook_event(status="pending", received_at=ago("16 minutes"))
    evaluated(151)
    assert watcher.look()
    (post,) = slack.posts
    assert "Time since the worker gave a sign of life" in post["text"]
    assert "What follows from it is muted: overdue jobs, webhook delay." in post["text"]
    assert "The worker was stopped at" in post["text"]
    assert query("SELECT fingerprint, severity, state FROM alerts WHERE state <> 'pending'") == [
        {"fingerprint": "worker_silence", "severity": "critical", "state": "firing"}
    ]
    assert str(scalar("SELECT evaluated_by FROM alert_evaluations")).startswith("web process on ")


def test_worker_that_never_ran_is_critical_once_the_installation_is_three_minutes_old() -> None:
    query("UPDATE django_migrations SET applied = now() - interval '3 minutes'")
    assert scalar("SELECT status FROM v_system_health WHERE check_name = 'worker_silence'") == "critical"
    query("UPDATE django_migrations SET applied = now() - interval '30 seconds'")
    assert scalar("SELECT status FROM v_system_health WHERE check_name = 'worker_silence'") == "ok"


def test_worker_that_begins_nothing_of_what_it_pulls_hangs() -> None:
    factories.worker(role="worker", pid=2, seen_at=ago("4 minutes"))
    factories.worker(pulled_at=ago("20 seconds"))
    row = query("SELECT status, message FROM v_system_health WHERE check_name = 'worker_silence'")[0]
    assert row["status"] == "critical"
    assert row["message"].startswith("The worker hangs: it has begun nothing since")
    query("UPDATE worker_heartbeats SET task_deadline_at = now() + interval '1 minute' WHERE role = 'worker'")
    assert scalar("SELECT status FROM v_system_health WHERE check_name = 'worker_silence'") == "ok"


def test_while_it_stands_in_it_looks_every_minute() -> None:
    evaluated(59, by="web process on web1")
    assert not watcher.look()
    evaluated(61, by="web process on web1")
    assert watcher.look()
    assert not watcher.look()


def test_of_several_web_processes_one_looks() -> None:
    evaluated(200)
    run("UPDATE alert_evaluations SET claimed_until = clock_timestamp() + interval '1 minute'")
    assert not watcher.look()


@pytest.mark.parametrize("word", ["psycopg", "OperationalError", "canceling", "CONTEXT", "urllib3", "Pool("])
def test_messages_are_free_of_what_libraries_say(word: str, slack: Slack) -> None:
    nothing_wrong()
    factories.job_schedule()
    error = "OperationalError: canceling statement due to lock timeout\nCONTEXT: while locking"
    query("INSERT INTO job_runs (job, status, error, finished_at) VALUES ('partitions', 'failed', %s, now())", error)
    factories.webhook_event(
        attempts=5, last_error="urllib3.exceptions.MaxRetryError: HTTPSConnectionPool(host='api.stripe.com', port=443)"
    )
    for _ in range(2):
        evaluated(200)
        watcher.look()
    said = " ".join(post["text"] for post in slack.posts)
    assert "A table stayed locked for longer than it may take." in said
    assert "The other side could not be reached." in said
    assert word not in said


def test_stopped_worker_is_gone_for_the_prober_at_once(client: Client) -> None:
    worker = factories.worker()
    assert heartbeat.queue_state().alive
    query("UPDATE worker_heartbeats SET stopped_at = now() WHERE id = %s", worker.pk)
    assert client.get("/readyz").status_code == 503


class TestHeartbeatUrl:
    def test_it_is_asked_after_each_evaluation(self, slack: Slack, settings: LazySettings) -> None:
        settings.HEARTBEAT_URL = slack.url
        evaluated(200)
        watcher.look()
        assert slack.asked == 1
        assert scalar("SELECT value FROM measurements WHERE check_name = 'heartbeat_url'") == 0

    def test_failure_is_a_warning_without_the_secret_path(
        self, settings: LazySettings, caplog: pytest.LogCaptureFixture
    ) -> None:
        settings.HEARTBEAT_URL = "http://127.0.0.1:9/secret-of-the-switch"
        evaluated(200)
        assert watcher.look()
        row = query("SELECT status, message FROM v_system_health WHERE check_name = 'heartbeat_url'")[0]
        assert (row["status"], row["message"]) == ("warning", "127.0.0.1 was not reached.")
        assert "secret-of-the-switch" not in caplog.text
