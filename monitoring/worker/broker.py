"""The queue in PostgreSQL, read by a pusher that shows that it lives."""

import logging
from typing import Any

from django.db import Error
from django_q.brokers.orm import ORM

from monitoring.worker.heartbeat import PUSHER_EVERY_SECONDS, Throttle, beat_as_pusher

logger = logging.getLogger(__name__)


class Broker(ORM):
    """django-q2's ORM broker; whatever pulls tasks leaves a heartbeat.

    Named by the setting `broker_class`: https://django-q2.readthedocs.io/en/master/configure.html
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._due = Throttle(PUSHER_EVERY_SECONDS)

    def dequeue(self) -> list[tuple[int, str]] | None:
        """Pull the next tasks as ids and payloads, and note that the queue is read, if idle every 10 seconds.

        A heartbeat that cannot be written is logged and never raised.
        """
        pulled: list[tuple[int, str]] | None = super().dequeue()
        if pulled or self._due.passes():
            try:
                beat_as_pusher(pulled=bool(pulled))
            except Error:
                # Raised from here it would end the pusher, and with it what it has just pulled: such tasks are given
                # out again only when `retry` has passed.
                logger.warning("The pusher's sign of life could not be written", exc_info=True)
        return pulled
