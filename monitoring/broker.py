"""The queue in PostgreSQL, read by a pusher that shows that it lives."""

from typing import Any

from django_q.brokers.orm import ORM

from monitoring.heartbeat import PUSHER_EVERY_SECONDS, Throttle, beat_as_pusher


class Broker(ORM):
    """django-q2's ORM broker; whatever pulls tasks leaves a heartbeat."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._due = Throttle(PUSHER_EVERY_SECONDS)

    def dequeue(self) -> list[tuple[int, str]] | None:
        pulled: list[tuple[int, str]] | None = super().dequeue()
        if pulled or self._due.passes():
            beat_as_pusher(pulled=bool(pulled))
        return pulled
