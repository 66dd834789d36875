"""Which stored events somebody means: for lists, previews and replays."""

from __future__ import annotations

from collections import Counter
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

    `error_text` may stand anywhere in the last error, in any case; `waits_for` is what somebody has to bring; `ids` are
    Stripe's.
    """

    statuses: tuple[str, ...] = (Status.FAILED, Status.DEAD)
    event_type: str = ""
    error_text: str = ""
    waits_for: str = ""
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
        if self.waits_for:
            wanted &= Q(waits_for__contains=[self.waits_for])
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


def of_customers(customer_ids: Iterable[str]) -> Q:
    """The events of Stripe customers, as a condition: of each what is about it, and what is about something of its."""
    found = Q(pk__in=[])
    for customer_id in customer_ids:
        for place in ("customer", "id"):
            found |= Q(payload__contains={"data": {"object": {place: customer_id}}})
    return found


def preview(wanted: EventFilter) -> list[dict[str, Any]]:
    """How many events a replay would try, the most first.

    Rows of `event_type`, `status` and `events`, their number.
    """
    rows = matching(wanted).values("event_type", "status").annotate(events=Count("pk"))
    return [dict(row) for row in rows.order_by("-events", "event_type", "status")]


def parked_for(key: str) -> EventFilter:
    """The events that wait for `key`: a price, a Stripe customer."""
    return EventFilter(waits_for=key)


def parked_counts(keys: Sequence[str]) -> dict[str, int]:
    """For each key how many events `parked_for` finds, in one query."""
    waiting = matching(EventFilter()).filter(waits_for__overlap=list(keys))
    counts = Counter(key for waits_for in waiting.values_list("waits_for", flat=True) for key in waits_for or [])
    return {key: counts[key] for key in keys}
