"""The jobs that keep our tables in step with Stripe."""

from billing import tasks
from billing.models import ReconciliationRun
from billing.services import reconciliation
from billing.stripe.reconciliation.holder import UnderWayError
from monitoring.jobs.deadline import remaining_seconds
from monitoring.jobs.outcome import JobFailed, JobSkipped, Outcome

# What is left of a job's time when reconciliation stops, to write its report.
RESERVE_SECONDS = 30


def requeue_due() -> Outcome:
    """Enqueue events that are due or were lost, and replays that stalled; `rows` is how many."""
    return Outcome(rows=tasks.requeue_due())


def reconcile() -> Outcome:
    """Ingest the events that never arrived and report, without repairing, what differs from Stripe.

    Stops 30 s before the job's limit; the next run goes on there. `rows` is the number of events that had not arrived;
    `detail` has `run`, `status`, `compared`, `differences` and `requests`. Fails when Stripe does; is skipped while
    another reconciliation is under way.
    """
    left = remaining_seconds()
    try:
        run = reconciliation.run(
            actor="job:reconcile",
            reason="Scheduled comparison with Stripe",
            seconds=None if left is None else max(1.0, left - RESERVE_SECONDS),
        )
    except UnderWayError as error:
        raise JobSkipped(str(error)) from error
    outcome = Outcome(
        rows=run.missing_events,
        detail={
            "run": str(run.pk),
            "status": run.status,
            "compared": run.compared,
            "differences": run.differences_found,
            "requests": run.requests,
        },
    )
    if run.status == ReconciliationRun.Status.FAILED:
        raise JobFailed(str(run.error), outcome)
    return outcome
