"""The schedules by the database's clock, each for itself, in the place of django-q2's own scheduler.

That one goes by the clock of its machine, and hands out no schedule at all where one of them cannot be read.
"""

import ast
import logging

from django.db import InterfaceError, OperationalError, connection, transaction
from django.db.models import Q, QuerySet
from django.db.models.functions import Now
from django_q import cluster
from django_q.brokers import Broker, get_broker
from django_q.conf import Conf
from django_q.models import Schedule
from django_q.tasks import async_task

from glyphforge.database.clock import database_time

logger = logging.getLogger(__name__)


def install() -> None:
    """Have the queue's cluster call `enqueue_due`, about every half minute."""
    cluster.scheduler = enqueue_due


def enqueue_due(broker: Broker | None = None) -> None:
    """Enqueue the task of every schedule that is due, and date its next run; of several missed runs one is made up for.

    Safe for several machines at once. What cannot be enqueued is logged and keeps no other; nothing is raised, which
    would end the cluster. The fields are django-q2's: https://django-q2.readthedocs.io/en/master/schedules.html
    """
    if not connection.in_atomic_block:
        connection.close_if_unusable_or_obsolete()
    try:
        broker = broker or get_broker()
        for pk in list(_due().order_by("next_run", "pk").values_list("pk", flat=True)):
            try:
                with transaction.atomic():
                    _enqueue(pk, broker)
            except (OperationalError, InterfaceError):
                raise
            except Exception:
                logger.exception("Schedule %s cannot be enqueued", pk)
    except Exception:
        logger.exception("Schedules cannot be enqueued")


def _due() -> QuerySet[Schedule]:
    ours = Q(cluster__isnull=True) | Q(cluster=Conf.CLUSTER_NAME)
    return Schedule.objects.exclude(repeats=0).filter(ours, next_run__lte=Now())


def _enqueue(pk: int, broker: Broker) -> None:
    schedule = _due().select_for_update(skip_locked=True).filter(pk=pk).first()
    if schedule is None:
        return  # another machine was first
    args = ast.literal_eval(schedule.args or "()")
    keywords = ast.literal_eval(schedule.kwargs or "{}")
    options = keywords.pop("q_options", {}) | {"group": schedule.name or schedule.pk, "broker": broker}
    if schedule.intended_date_kwarg:
        keywords[schedule.intended_date_kwarg] = schedule.next_run.isoformat()
    arguments = args if isinstance(args, tuple) else (args,)
    schedule.task = async_task(schedule.func, *arguments, **keywords, q_options=options)
    if schedule.schedule_type == Schedule.ONCE:
        schedule.delete()
        return
    schedule.next_run = schedule.calculate_next_run(max(schedule.next_run, database_time()))
    if schedule.repeats > 0:
        schedule.repeats -= 1
    schedule.save(update_fields=["next_run", "repeats", "task"])
