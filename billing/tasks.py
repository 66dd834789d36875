"""What the queue runs for billing; each is a thin door to the code that does it."""

import time
from collections.abc import Callable
from datetime import timedelta
from smtplib import SMTPException

from django.db import OperationalError
from django_q.models import OrmQ
from django_q.tasks import schedule

from billing.keys import leak_notice
from billing.models import ApiKey
from billing.services.privacy import erasure, replaying
from billing.stripe import resync
from billing.stripe.errors import PermanentError, TransientError
from billing.stripe.events import processing, replay_runs, requeue
from billing.stripe.requests import settling
from glyphforge.approval.models import Approval
from glyphforge.database import backup
from glyphforge.database.clock import database_time
from glyphforge.errors import LeftOut
from glyphforge.observability.logs import log_context

ATTEMPTS = 8
# Of the tasks that a rehearsed act enqueues so many are done, none begun after so many seconds: somebody waits.
REHEARSED_TASKS = 50
REHEARSED_SECONDS = 20.0


def send_leak_notice(api_key_id: str, attempt: int = 1) -> None:
    """Mail the owner of a leaked key; tried again after 2, 4, … 128 minutes while the mail server refuses.

    Raises what the mail server raises at the eighth attempt, OSError or SMTPException.
    """
    try:
        leak_notice.send(ApiKey.objects.select_related("user").get(pk=api_key_id))
    except (OSError, SMTPException):
        if attempt >= ATTEMPTS:
            raise
        _retry_later("billing.tasks.send_leak_notice", api_key_id, attempt)


def send_key_notice(api_key_id: str, occasion: str) -> None:
    """Mail the owner of a key that expires or is unused; raises what the mail server raises, OSError or SMTPException.

    It is tried once: the next occasion comes, or the key's page says that it has ended.
    """
    leak_notice.send_occasion(ApiKey.objects.select_related("user").get(pk=api_key_id), occasion)


def _retry_later(task: str, argument: str, attempt: int) -> None:
    """Schedule the next attempt: the queue itself never repeats a task that failed."""
    when = database_time() + timedelta(minutes=2**attempt)
    schedule(task, argument, attempt + 1, schedule_type="O", next_run=when)


def process_event(event_id: str) -> str | None:
    """Process one stored Stripe event; returns its status, or None when another worker has it."""
    with log_context(event=event_id):
        return processing.process(event_id)


def requeue_due() -> int:
    """Give up events whose every lease ran out, enqueue those that are due or were lost, stalled replays and erasures.

    Then look what became of requests to Stripe. Returns how many were enqueued. Raises LeftOut, when everything else is
    done, with what the database or Stripe refused.
    """
    enqueued = 0
    left: list[str] = []
    for step, enqueues in (
        (requeue.dead_letter, False),
        (requeue.requeue_due, True),
        (replay_runs.requeue_stalled, True),
        (erasure.requeue_stalled, True),
        (settling.sweep, False),
    ):
        try:
            done = step()
        except LeftOut as error:
            done = error.done
            left += error.left
        enqueued += done if enqueues else 0
    if left:
        raise LeftOut(left, done=enqueued)
    return enqueued


def advance_replay(run_id: str) -> None:
    """Work on a background replay for up to 50 seconds."""
    replay_runs.advance(run_id)


def resync_customer(stripe_customer_id: str, attempt: int = 1) -> None:
    """Bring everything of one customer in line with Stripe; tried again like the mail while Stripe is busy.

    Raises TransientError or OperationalError at the eighth attempt, PermanentError at once: what needs a person.
    """
    try:
        problems = resync.resync(stripe_customer_id)
    except (TransientError, OperationalError):
        if attempt >= ATTEMPTS:
            raise
        _retry_later("billing.tasks.resync_customer", stripe_customer_id, attempt)
    else:
        if problems:
            raise problems[0].error


def rehearse_enqueued() -> Callable[[], list[str]]:
    """For rehearsals: what is called later does the tasks enqueued until then, and says what it did not do, and why."""
    last = OrmQ.objects.order_by("-pk").values_list("pk", flat=True).first() or 0

    def work() -> list[str]:
        ends_at = time.monotonic() + REHEARSED_SECONDS
        left, done = [], 0
        known = {f"{__name__}.{task.__name__}": task for task in (process_event, resync_customer)}
        while queued := OrmQ.objects.filter(pk__gt=last).order_by("pk").first():
            task = known.get(queued.func())
            if task is None or done == REHEARSED_TASKS or time.monotonic() > ends_at:
                break
            queued.delete()
            done += 1
            try:
                task(*queued.args())
            except (PermanentError, TransientError) as error:
                left.append(f"{', '.join(queued.args())}: {error}")
        waiting = OrmQ.objects.filter(pk__gt=last).count()
        return left + ([f"{waiting:,} tasks that the worker would do later"] if waiting else [])

    return work


def erase_customer(approval_id: str) -> None:
    """Erase the customer whom an approved request names; one whose work a dead process left is taken up again."""
    erasure.carry_out(Approval.objects.get(pk=approval_id))
    replaying.keep(backup.folder())
