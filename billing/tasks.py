"""What the queue runs for billing; each is a thin door to the code that does it."""

from datetime import timedelta
from smtplib import SMTPException

from django.db import OperationalError
from django.utils import timezone
from django_q.tasks import schedule

from billing.models import ApiKey
from billing.services import leak_notice, replay_runs
from billing.stripe import processing, resync
from billing.stripe import sweep as inbox_sweep
from billing.stripe.errors import TransientError
from glyphforge.logs import log_context

ATTEMPTS = 8


def tell_of_leaked_key(api_key_id: str, attempt: int = 1) -> None:
    """Mail the owner of a leaked key; tried again later, for some hours, while the mail server refuses."""
    try:
        leak_notice.send(ApiKey.objects.select_related("user").get(pk=api_key_id))
    except (OSError, SMTPException):
        if attempt >= ATTEMPTS:
            raise
        _again("billing.tasks.tell_of_leaked_key", api_key_id, attempt)


def _again(task: str, argument: str, attempt: int) -> None:
    """Schedule the next attempt: the queue itself never repeats a task that failed."""
    when = timezone.now() + timedelta(minutes=2**attempt)
    schedule(task, argument, attempt + 1, schedule_type="O", next_run=when)


def process_event(event_id: str) -> str | None:
    """Process one stored Stripe event; returns its status, or None when another worker has it."""
    with log_context(event=event_id):
        return processing.process(event_id)


def sweep() -> int:
    """Enqueue every event that is due or was lost, and stalled replays; returns how many."""
    inbox_sweep.bury_the_hopeless()
    return inbox_sweep.sweep() + replay_runs.rescue()


def advance_replay(run_id: str) -> None:
    """Work on a background replay for a while."""
    replay_runs.advance(run_id)


def resync_customer(stripe_customer_id: str, attempt: int = 1) -> None:
    """Bring everything of one customer in line with Stripe; tried again later while Stripe or the lock is busy."""
    try:
        resync.resync(stripe_customer_id)
    except (TransientError, OperationalError):
        if attempt >= ATTEMPTS:
            raise
        _again("billing.tasks.resync_customer", stripe_customer_id, attempt)
