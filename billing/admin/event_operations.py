"""What staff may do to webhook events."""

from typing import Any

from django.db.models import QuerySet

from billing.models import WebhookEvent
from billing.stripe.events import replay, replay_runs
from billing.stripe.events.filter import EventFilter
from glyphforge.admin.operations import Operation, ReasonForm, counted

Status = WebhookEvent.Status
RETRIED = EventFilter.statuses


class Replay(Operation):
    """Stored events are processed again, whatever became of them."""

    name = "replay"
    label = "Replay"
    permission = "billing.replay_webhookevent"
    icon = "replay"
    can_rehearse = True
    on_selection = True
    when = {"status": (Status.PENDING, Status.FAILED, Status.DEAD, Status.PROCESSED, Status.IGNORED)}

    def offered(self, row: WebhookEvent) -> bool:
        # For what failed there is the retry, which is the same.
        return super().offered(row) and row.status not in RETRIED

    def describe(self, row: WebhookEvent) -> str:
        return f"{row.stripe_event_id} · {row.event_type} · {row.get_status_display().lower()}"

    def effect(self, count: int) -> str:
        again = "is set back to pending and processed again" if count == 1 else "are set back and processed again"
        return f"{counted(count, 'event')} {again}, from what Stripe says now. Doing it twice changes nothing more."

    def carry_out(self, rows: QuerySet[Any], *, actor: str, reason: str, form: ReasonForm) -> str:
        ids = tuple(rows.order_by("received_at").values_list("stripe_event_id", flat=True)[: replay.AT_ONCE + 1])
        if len(ids) > replay.AT_ONCE:
            everything = tuple(rows.values_list("stripe_event_id", flat=True))
            wanted = EventFilter(statuses=self.when["status"], ids=everything)
            run = replay_runs.start(wanted, actor=actor, reason=reason)
            return f"{counted(run.total, 'event')} are processed again in the background, oldest first."
        replayed = replay.replay(WebhookEvent.objects.filter(stripe_event_id__in=ids), actor=actor, reason=reason)
        return f"{counted(replayed, 'event')} set back to pending; the worker takes them up at once."


class RetryWebhooks(Replay):
    """Failed and dead events are tried again."""

    name = "retry_webhooks"
    label = "Retry webhooks"
    permission = "billing.retry_webhookevent"
    icon = "refresh"
    on_all = True
    when = {"status": RETRIED}

    def offered(self, row: WebhookEvent) -> bool:
        return row.status in RETRIED
