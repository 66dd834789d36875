"""Webhook leases: whatever happens in whatever order, an event has one worker at a time and is never lost."""

from dataclasses import dataclass

import pytest
from django.db import transaction
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support import sql
from tests.support.sql import Run, scalar

EVENT = "evt_1"
STEPS = st.lists(
    st.sampled_from(["start", "succeed", "fail", "crash", "lease runs out", "retry is due", "retry_failed_webhooks"]),
    max_size=40,
)


@dataclass
class Model:
    """What the functions promise, told in a dozen lines."""

    status: str = "unseen"
    attempts: int = 0
    leased: bool = False
    due: bool = False

    def start(self) -> bool:
        if self.status == "processing" and not self.leased and self.attempts >= 8:
            self.status = "dead"
            return False
        claimable = {"unseen": True, "pending": True, "failed": self.due, "processing": not self.leased}
        if not claimable.get(self.status, False):
            return False
        self.status, self.attempts, self.leased, self.due = "processing", self.attempts + 1, True, False
        return True

    def complete(self, error: str | None) -> bool:
        if self.status != "processing":
            return False
        self.status = "processed" if error is None else "dead" if self.attempts >= 8 else "failed"
        self.leased = self.due = False
        return True


def let_time_pass(column: str, span: str) -> None:
    sql.run(f"UPDATE stripe_webhook_events SET {column} = {column} - %s::interval", span)


def take(step: str, model: Model) -> None:
    if step == "start":
        assert scalar("SELECT start_webhook_processing(%s)", EVENT) == model.start()
    elif step in {"succeed", "fail"}:
        error = None if step == "succeed" else "boom"
        assert scalar("SELECT complete_webhook_processing(%s, %s)", EVENT, error) == model.complete(error)
    elif step == "lease runs out":
        let_time_pass("processing_started_at", "15 minutes 1 second")
        model.leased = False
    elif step == "retry is due":
        let_time_pass("next_retry_at", "1 day")
        model.due = model.status == "failed"
    elif step == "retry_failed_webhooks":
        expected = model.status == "failed" and model.attempts < 3
        assert scalar("SELECT count(*) > 0 FROM retry_failed_webhooks(3)") == expected
        model.status = "pending" if expected else model.status
    # A crash is what does not happen afterwards: the lease stays.


@pytest.mark.django_db
@settings(max_examples=60, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=STEPS)
def test_any_interleaving_gives_the_event_to_one_worker_and_never_loses_it(steps: list[str]) -> None:
    savepoint = transaction.savepoint()
    model = Model()
    for step in steps:
        take(step, model)
    if model.status not in {"unseen", "processed", "dead"}:
        # Never lost: once its lease or its pause is over, somebody gets it, or it is dead for all to see.
        take("lease runs out", model)
        take("retry is due", model)
        take("start", model)
        assert model.status in {"processing", "dead"}
    transaction.savepoint_rollback(savepoint)


def test_eighth_failure_is_final_and_says_why(run: Run) -> None:
    for _ in range(8):
        assert run("SELECT start_webhook_processing('evt_1')") == [(True,)]
        assert run("SELECT complete_webhook_processing('evt_1', 'boom')") == [(True,)]
        run("UPDATE stripe_webhook_events SET next_retry_at = now() - interval '1 second'")
    assert run("SELECT status, attempts, last_error FROM stripe_webhook_events") == [("dead", 8, "boom")]
    assert run("SELECT start_webhook_processing('evt_1')") == [(False,)]
    assert run("SELECT * FROM retry_failed_webhooks(100)") == []


def test_worker_that_dies_eight_times_leaves_a_dead_event(run: Run) -> None:
    for _ in range(8):
        assert run("SELECT start_webhook_processing('evt_1')") == [(True,)]
        run("UPDATE stripe_webhook_events SET processing_started_at = now() - interval '16 minutes'")
    assert run("SELECT start_webhook_processing('evt_1')") == [(False,)]
    assert run("SELECT status, last_error FROM stripe_webhook_events") == [
        ("dead", "The worker of attempt 8 did not finish within 00:15:00.")
    ]


def test_pauses_grow_and_jitter(run: Run) -> None:
    run("INSERT INTO stripe_webhook_events (stripe_event_id, status, attempts)"
        " SELECT 'evt_' || n, 'processing', 1 + n % 7 FROM generate_series(1, 70) AS n")  # fmt: skip
    run("SELECT complete_webhook_processing(stripe_event_id, 'boom') FROM stripe_webhook_events")
    pauses = run(
        "SELECT min(next_retry_at - clock_timestamp()), count(DISTINCT next_retry_at) FROM stripe_webhook_events"
        " GROUP BY attempts ORDER BY attempts"
    )
    shortest = [pause for pause, _ in pauses]
    assert shortest[:5] == sorted(shortest[:5])
    assert all(distinct > 5 for _, distinct in pauses)


def test_stub_of_an_unseen_event_waits_for_its_payload(run: Run) -> None:
    run("SELECT start_webhook_processing('evt_unseen')")
    assert run("SELECT event_type, payload::text, status, attempts FROM stripe_webhook_events") == [
        ("unknown", "{}", "processing", 1)
    ]


def test_success_clears_the_error(run: Run) -> None:
    run("SELECT start_webhook_processing('evt_1'), complete_webhook_processing('evt_1', 'boom')")
    run("SELECT * FROM retry_failed_webhooks()")
    run("SELECT start_webhook_processing('evt_1'), complete_webhook_processing('evt_1', NULL)")
    assert run(
        "SELECT status, attempts, last_error, next_retry_at, processed_at IS NOT NULL FROM stripe_webhook_events"
    ) == [("processed", 2, None, None, True)]
    assert run("SELECT complete_webhook_processing('evt_1', NULL), complete_webhook_processing('evt_none', NULL)") == [
        (False, False)
    ]
