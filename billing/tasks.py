"""What the queue runs for billing; each is a thin door to the code that does it."""

from datetime import timedelta
from smtplib import SMTPException

from django.utils import timezone
from django_q.tasks import schedule

from billing.models import ApiKey
from billing.services import leak_notice
from billing.stripe import processing

MAIL_ATTEMPTS = 8


def tell_of_leaked_key(api_key_id: str, attempt: int = 1) -> None:
    """Mail the owner of a leaked key; tried again later, for some hours, while the mail server refuses."""
    try:
        leak_notice.send(ApiKey.objects.select_related("user").get(pk=api_key_id))
    except (OSError, SMTPException):
        if attempt >= MAIL_ATTEMPTS:
            raise
        schedule(
            "billing.tasks.tell_of_leaked_key",
            api_key_id,
            attempt + 1,
            schedule_type="O",
            next_run=timezone.now() + timedelta(minutes=2**attempt),
        )


def process_event(event_id: str) -> str | None:
    """Process one stored Stripe event; returns its status, or None when another worker has it."""
    return processing.process(event_id)
