"""Rows of the queue run nothing: not by a pickle, not by a name."""

import base64
import os
import pickle
import re
from pathlib import Path
from typing import Any

import pytest
from django.db import IntegrityError, connection
from django.test import Client
from django.utils import timezone
from django.utils.module_loading import import_string
from django_q import core_signing
from django_q.brokers import get_broker
from django_q.cluster import pusher
from django_q.conf import Conf
from django_q.models import OrmQ, Schedule, Task
from django_q.tasks import async_task

from billing import tasks
from billing.stripe.events import requeue
from monitoring.worker import serialization
from monitoring.worker.scheduler import enqueue_due
from tests.support.sql import query

pytestmark = pytest.mark.django_db


class Attack:
    """As a pickle it makes a folder wherever it is read."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.folder),)


class Pickles:
    dumps, loads = staticmethod(pickle.dumps), staticmethod(pickle.loads)


def queued(task: object, serializer: type = serialization.TaskSerializer) -> OrmQ:
    """A row that is signed as it should be: SECRET_KEY has leaked."""
    payload = core_signing.dumps(task, key=Conf.SECRET_KEY, salt=Conf.PREFIX, serializer=serializer)
    return OrmQ.objects.create(key="glyphforge", payload=payload, lock=timezone.now())


class Stop:
    """Ends the pusher after one look at the queue."""

    @staticmethod
    def is_set() -> bool:
        return True


class Pushed(list):
    put = list.append


def pushed() -> list[dict[str, Any]]:
    found = Pushed()
    pusher(found, Stop(), get_broker())
    return list(found)


def task(**values: Any) -> dict[str, Any]:
    return {"id": "1" * 32, "name": "n", "args": (), "kwargs": {}, "started": "2026-11-28T12:00:00+00:00", **values}


def test_a_pickle_in_the_queue_is_dropped_unread(tmp_path: Path) -> None:
    row = queued(Attack(tmp_path / "ran"), Pickles)
    requeue.requeue_due()  # looks through the queue too
    assert pushed() == []
    assert not OrmQ.objects.filter(pk=row.pk).exists()
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    "values",
    [
        {"func": "os.system"},
        {"func": "billing.tasks.schedule"},
        {"func": "monitoring.jobs.runner.run_slot", "hook": "os.system"},
        {"func": "monitoring.jobs.runner.run_slot", "chain": [["os.system", ["id"], {}]]},
    ],
)
def test_a_function_that_is_no_task_of_ours_is_dropped_unrun(values: dict[str, Any]) -> None:
    row = queued(task(**values))
    assert pushed() == []
    assert not OrmQ.objects.filter(pk=row.pk).exists()


def test_what_is_enqueued_arrives_as_it_was() -> None:
    async_task("billing.tasks.process_event", "evt_1", task_name="evt_1", q_options={"timeout": 30})
    (found,) = pushed()
    assert (found["func"], found["args"], found["kwargs"]) == ("billing.tasks.process_event", ("evt_1",), {})
    assert found["started"].tzinfo is not None
    assert found["timeout"] == 30


def test_a_failed_task_of_a_planted_row_runs_nothing_in_the_auditors_page(signed_in: Any, tmp_path: Path) -> None:
    poison = base64.b64encode(pickle.dumps(Attack(tmp_path / "ran"))).decode()
    query(
        "INSERT INTO django_q_task"
        " (id, name, func, started, stopped, success, attempt_count, hook, result, args, kwargs)"
        " VALUES ('planted', 'planted', 'x', now(), now(), false, 1, 'os.system', %s, %s, %s)",
        poison, poison, poison,
    )  # fmt: skip
    auditor: Client = signed_in("auditor")
    assert auditor.get("/admin/django_q/failure/").status_code == 200
    page = auditor.get("/admin/django_q/failure/planted/change/")
    assert serialization.UNREADABLE in page.content.decode()
    found = Task.objects.get(id="planted")
    found.save()  # as the queue does with a task that it knows
    assert not (tmp_path / "ran").exists()


def test_the_error_of_a_task_is_kept_as_text() -> None:
    moment = "2026-11-28T12:00:00+00:00"
    kept = Task.objects.create(
        id="1" * 32, name="n", func="billing.tasks.process_event", args=("evt_1",), kwargs={}, started=moment,
        stopped=moment, success=False, result="ValueError('no') : Traceback",
    )  # fmt: skip
    assert query("SELECT args, result FROM django_q_task") == [
        {"args": '["evt_1"]', "result": "\"ValueError('no') : Traceback\""}
    ]
    kept.refresh_from_db()
    assert (kept.args, kept.result) == (["evt_1"], "ValueError('no') : Traceback")


@pytest.mark.parametrize("values", [{"func": "os.system"}, {"hook": "os.system"}, {"func": ""}])
def test_no_schedule_of_another_function_is_stored(values: dict[str, str]) -> None:
    ours = {"func": "billing.tasks.resync_customer", "args": "('cus_1', 2)"} | values
    with pytest.raises(IntegrityError, match=r"is not what the queue runs"):
        Schedule.objects.create(**ours)


def test_schedules_still_make_tasks() -> None:
    Schedule.objects.all().delete()
    tasks._retry_later("billing.tasks.resync_customer", "cus_1", 1)
    query("UPDATE django_q_schedule SET next_run = now() - interval '1 minute'")
    enqueue_due()
    (found,) = pushed()
    assert (found["func"], found["args"]) == ("billing.tasks.resync_customer", ("cus_1", 2))


def test_worker_and_database_have_the_same_list_and_it_names_functions() -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT prosrc FROM pg_proc WHERE proname = 'refuse_unknown_task'")
        (source,) = cursor.fetchone()
    assert set(re.findall(r"'((?:billing|glyphforge|monitoring)\.[a-z_.]+)'", source)) == serialization.FUNCTIONS
    for name in serialization.FUNCTIONS:
        assert callable(import_string(name))
