"""The rows of the queue are data: JSON in place of django-q2's pickles, and only named functions are ever called.

Who can write a row of `django_q_ormq`, `django_q_task` or `django_q_schedule` could else run any code in whatever
process reads it: https://docs.python.org/3/library/pickle.html warns of the one, a free `func` is the other.
"""

from __future__ import annotations

import json
from typing import Any

import picklefield.fields
from django.db.models.signals import post_save
from django.utils.dateparse import parse_datetime
from django_q import signals, signing
from django_q.models import Task

# What the queue may run. The trigger on `django_q_schedule` has the same list.
FUNCTIONS = frozenset(
    {
        "billing.tasks.advance_replay",
        "billing.tasks.erase_customer",
        "billing.tasks.process_event",
        "billing.tasks.resync_customer",
        "billing.tasks.send_key_notice",
        "billing.tasks.send_leak_notice",
        "glyphforge.staff.notices.send",
        "monitoring.jobs.runner.run_now",
        "monitoring.jobs.runner.run_slot",
    }
)
# The members of a task that name further functions: https://django-q2.readthedocs.io/en/master/tasks.html
CALLBACKS = ("hook", "chain", "iter_count")
UNREADABLE = "The value is not JSON: it was written by an earlier release, or by hand."


def install() -> None:
    """Have django-q2 write and read JSON from now on, and call no function that a stored task names as its hook."""
    signing.PickleSerializer = TaskSerializer
    picklefield.fields.dbsafe_encode = _encoded
    picklefield.fields.dbsafe_decode = _decoded
    post_save.disconnect(signals.call_hook, sender=Task)


class TaskSerializer:
    """A task as it lies in the queue, in the place of django-q2's serializer of the same two functions."""

    @staticmethod
    def dumps(task: object) -> bytes:
        """JSON; times and whatever else JSON does not know as text."""
        return json.dumps(task, default=str).encode()

    @staticmethod
    def loads(data: bytes) -> dict[str, Any]:
        """The task, its times as datetimes and its arguments as a tuple.

        Raises BadSignature, after which the queue drops the row, for what is no task and for a function that is not one
        of `FUNCTIONS`.
        """
        try:
            task = json.loads(data)
            function = task["func"]
            task["args"] = tuple(task["args"])
            task["started"] = parse_datetime(task["started"])
        except (KeyError, TypeError, ValueError) as error:
            raise signing.BadSignature("The row of the queue holds no task.") from error
        if function not in FUNCTIONS:
            raise signing.BadSignature(f"The queue does not run {function!r}: it runs {', '.join(sorted(FUNCTIONS))}.")
        if any(task.get(name) for name in CALLBACKS):
            raise signing.BadSignature(f"A task of the queue has none of {', '.join(CALLBACKS)}.")
        return dict(task)


def _encoded(value: object, *unused: object) -> picklefield.fields.PickledObject:
    return picklefield.fields.PickledObject(json.dumps(value, default=str))


def _decoded(value: str, *unused: object) -> Any:
    try:
        return json.loads(value)
    except ValueError:
        return UNREADABLE
