"""The queue in PostgreSQL, read by a pusher that shows that it lives."""

import logging
import time
from datetime import timedelta
from typing import Any

from django.db import Error
from django.db.models.functions import Now
from django_q.brokers.orm import ORM
from django_q.conf import Conf

from monitoring.worker.heartbeat import PUSHER_EVERY_SECONDS, Throttle, beat_as_pusher

logger = logging.getLogger(__name__)


class Broker(ORM):
    """django-q2's ORM broker by the database's clock, so that machines may differ; what pulls tasks leaves a heartbeat.

    Named by the setting `broker_class`: https://django-q2.readthedocs.io/en/master/configure.html
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._due = Throttle(PUSHER_EVERY_SECONDS)

    def enqueue(self, task: str) -> int:
        """Put the signed task into the queue; returns its id."""
        row = self.get_connection().create(key=self.list_key or Conf.CLUSTER_NAME, payload=task, lock=Now())
        return int(row.pk)

    def dequeue(self) -> list[tuple[int, str]]:
        """Pull the next tasks as ids and payloads, and note that the queue is read, if idle every 10 seconds.

        Another reader's rows are left to it. What is not acknowledged is given out again after the setting `retry`. A
        heartbeat that cannot be written is logged and never raised.
        """
        pulled = self._pull()
        if pulled or self._due.passes():
            try:
                beat_as_pusher(pulled=bool(pulled))
            except Error:
                # Raised from here it would end the pusher, and with it what it has just pulled: such tasks are given
                # out again only when `retry` has passed.
                logger.warning("The pusher's sign of life could not be written", exc_info=True)
        if not pulled:
            time.sleep(Conf.POLL)
        return pulled

    def _pull(self) -> list[tuple[int, str]]:
        waiting = self.get_connection().filter(key=self.list_key, lock__lt=Now()).order_by("pk")
        pulled = []
        for row in waiting[: Conf.BULK]:
            free = self.get_connection().filter(pk=row.pk, lock=row.lock)
            if free.update(lock=Now() + timedelta(seconds=Conf.RETRY)):
                pulled.append((row.pk, row.payload))
        return pulled
