"""What a remedy tells the reader to do: its commands, buttons and SQL as they stand in the text, and their doing."""

import io
import re
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg
import pytest
from django.conf import LazySettings
from django.core.management import call_command
from django.db import connection
from django.test import Client
from django.utils.module_loading import import_string
from django_q.models import OrmQ

from demo.stripe.world import StripeWorld
from monitoring.jobs.registry import JOBS
from tests.support import processes
from tests.support.admin_pages import CONFIRMED, operations, page_of
from tests.support.database import session
from tests.support.sql import one, query
from tests.support.waiting import wait_for

Named = dict[str, Any]
ONE_ROW: dict[str, str] = {}
_ARGUMENTS = "|".join(["NAME", "init", r"--\w+", *JOBS])
ACTION = re.compile(
    rf'manage\.py \w+(?: (?:{_ARGUMENTS})\b)*|"[^"]+"|SELECT pg_\w+\(\w+\)|ALTER (?:TABLE|SEQUENCE) [^;.]+'
    r"|REINDEX INDEX CONCURRENTLY \w+|VACUUM \(\w+\)(?: t\b)?"
)


def actions(text: str) -> list[str]:
    """The actions that a text names, in its order: `manage.py …`, a button's label in quotes, or SQL."""
    return ACTION.findall(text)


@dataclass
class Scene:
    """What a case may use, and must leave behind nothing of: other sessions end with the test."""

    world: StripeWorld
    backups: Path
    settings: LazySettings
    patch: pytest.MonkeyPatch
    sessions: ExitStack = field(default_factory=ExitStack)

    def connected(self, **options: Any) -> psycopg.Connection:
        """Another session, which may be ended before the test does."""
        other = session(**options)
        self.sessions.callback(other.close)
        return other


@dataclass(frozen=True)
class Case:
    """`breaks` returns what the remedy's words stand for; `does` are its actions that are done, as they stand in it.

    `then` is what others do about it afterwards: the customer, or time.
    """

    check: str
    breaks: Callable[[Scene], Named]
    does: tuple[str, ...]
    then: Callable[[Scene], object] = lambda _: None

    def __str__(self) -> str:
        return f"{self.check}: {', '.join(self.does) or 'wait'}"


class Reader:
    """Somebody who does what is said; `named` is what a placeholder stands for, or what a button is pressed on.

    A button's value is a row, or a model whose list has it, and what the form asks for besides the reason. With
    `variables` commands run in processes of their own that have them, on what is committed.
    """

    def __init__(self, client: Client, named: dict[str, Any], variables: dict[str, str] | None = None) -> None:
        self.client = client
        self.named = named
        self.variables = variables

    def do(self, action: str) -> None:
        if action.startswith('"'):
            self._press(action.strip('"'))
        elif action.startswith("manage.py "):
            self._run(self._filled(action.removeprefix("manage.py ")).split())
        else:
            with connection.cursor() as cursor:  # in a transaction, that of the test, nothing is CONCURRENTLY
                cursor.execute(self._filled(action).replace(" CONCURRENTLY", ""))

    def _filled(self, text: str) -> str:
        for placeholder, value in self.named.items():
            text = re.sub(rf"\b{placeholder}\b", str(value), text) if placeholder.isalpha() else text
        return text

    def _run(self, words: list[str]) -> None:
        if self.variables is not None:
            done = processes.finished("manage.py", *words, **self.variables)
            assert done.returncode == 0, done.stderr
            return
        out = io.StringIO()
        try:
            call_command(*words, stdout=out)
        except SystemExit:  # `verify` tells by it that something differs
            with connection.cursor() as cursor:
                cursor.execute(out.getvalue().replace(" CONCURRENTLY", ""))

    def _press(self, label: str) -> None:
        target, form = self.named[f'"{label}"']
        model = target if isinstance(target, type) else type(target)
        (name,) = [each.name for _, owner, each in operations() if owner is model and each.label == label]
        url = page_of(model, f"{name}_all") if target is model else page_of(model, name, target.pk)
        answer = self.client.post(url, {**CONFIRMED, **form}, follow=True)
        assert answer.status_code == 200, f"{label}: {answer.status_code}"
        told = {str(message): message.level_tag for message in (answer.context or {}).get("messages", [])}
        assert "error" not in told.values(), told


def work_off_the_queue() -> None:
    """What a worker does with the tasks that wait."""
    for row in OrmQ.objects.order_by("pk"):
        task = row.task
        row.delete()
        import_string(task["func"])(*task["args"], **task["kwargs"])


def status(check: str) -> str:
    """What System health says of the check now."""
    query("SELECT pg_stat_clear_snapshot()")
    return str(one("SELECT status FROM v_system_health WHERE check_name = %s", check)["status"])


def remedy(check: str) -> str:
    """What the check says is to be done."""
    return str(one("SELECT remediation FROM health_checks WHERE check_name = %s", check)["remediation"])


def heal(case: Case, scene: Scene, client: Client, variables: dict[str, str] | None = None) -> None:
    """Break the check, do what its remedy says, and see it well."""
    assert status(case.check) in {"ok", "unknown"}
    reader = Reader(client, case.breaks(scene), variables)
    assert status(case.check) in {"warning", "critical"}
    named = actions(remedy(case.check))
    for action in case.does:
        assert action in named
        reader.do(action)
    case.then(scene)
    wait_for(lambda: status(case.check) == "ok")
