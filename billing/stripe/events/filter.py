"""Which stored events somebody means: for lists, previews and replays."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from django.db.models import Count, Q, QuerySet

from billing.models import WebhookEvent

Status = WebhookEvent.Status


@dataclass(frozen=True)
class EventFilter:
    """Which events; what is left out does not restrict, but for the statuses: failed and dead. Times are inclusive.

    `error_text` may stand anywhere in the last error, in any case; `ids` are Stripe's.
    """

    statuses: tuple[str, ...] = (Status.FAILED, Status.DEAD)
    event_type: str = ""
    error_text: str = ""
    received_from: datetime | None = None
    received_until: datetime | None = None
    ids: tuple[str, ...] = ()

    def query(self) -> Q:
        """The filter as a condition on `WebhookEvent`."""
        wanted = Q(status__in=self.statuses)
        if self.event_type:
            wanted &= Q(event_type=self.event_type)
        if self.error_text:
            wanted &= Q(last_error__icontains=self.error_text)
        if self.received_from:
            wanted &= Q(received_at__gte=self.received_from)
        if self.received_until:
            wanted &= Q(received_at__lte=self.received_until)
        if self.ids:
            wanted &= Q(stripe_event_id__in=self.ids)
        return wanted

    def as_json(self) -> dict[str, Any]:
        """The filter as it is stored with a run, without what does not restrict; `from_json` reads it back."""

        def plain(value: Any) -> Any:
            if isinstance(value, datetime):
                return value.isoformat()
            return list(value) if isinstance(value, Iterable) and not isinstance(value, str) else value

        return {name: plain(value) for name, value in asdict(self).items() if value}

    @classmethod
    def from_json(cls, stored: dict[str, Any]) -> EventFilter:
        """The filter that `as_json` wrote."""
        values = dict(stored)
        for name in values.keys() & {"received_from", "received_until"}:
            values[name] = datetime.fromisoformat(values[name])
        for name in values.keys() & {"statuses", "ids"}:
            values[name] = tuple(values[name])
        return cls(**values)


def matching(wanted: EventFilter) -> QuerySet[WebhookEvent]:
    """The stored events that the filter finds."""
    return WebhookEvent.objects.filter(wanted.query())


def preview(wanted: EventFilter) -> list[dict[str, Any]]:
    """How many events a replay would try, the most first.

    Rows of `event_type`, `status` and `events`, their number.
    """
    rows = matching(wanted).values("event_type", "status").annotate(events=Count("pk"))
    return [dict(row) for row in rows.order_by("-events", "event_type", "status")]


def parked_for(text: str) -> EventFilter:
    """Failed and dead events whose error names `text`: a price, a customer."""
    return EventFilter(error_text=text)


def parked_counts(texts: Sequence[str]) -> dict[str, int]:
    """For each text how many events `parked_for` finds, in one query."""
    if not texts:
        return {}
    named = {f"n{number}": Count("pk", filter=Q(last_error__icontains=text)) for number, text in enumerate(texts)}
    counts = matching(EventFilter()).aggregate(**named)
    return dict(zip(texts, counts.values(), strict=True))
