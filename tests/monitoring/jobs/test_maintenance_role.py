"""With least privilege: the application may not, the role of MAINTENANCE_DATABASE_URL may."""

import io
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from django.conf import LazySettings
from django.conf import settings as suite
from django.core.management import CommandError, call_command
from django.db import connection, connections
from psycopg.conninfo import conninfo_to_dict

from glyphforge.database import roles
from glyphforge.database.connection import MAINTENANCE
from tests.support import topology
from tests.support.needs import needs


@dataclass(frozen=True)
class Done:
    """As a process ends."""

    returncode: int
    stdout: str
    stderr: str


Manage = Callable[..., Done]

pytestmark = [
    pytest.mark.slow,
    needs(suite.TEST_SERVER, "the suite's own server"),
]


@contextmanager
def connected(url: str, role: str, maintenance: str) -> Iterator[None]:
    """The connections are those of DATABASE_URL, and of MAINTENANCE_DATABASE_URL if a role is given for it."""
    usual = dict(connection.settings_dict)
    to = conninfo_to_dict(url)
    there = usual | {"HOST": to["host"], "PORT": to.get("port", ""), "USER": role}
    connection.close()
    connection.settings_dict.update(there)
    if maintenance:
        connections.databases[MAINTENANCE] = there | {"USER": maintenance}
    try:
        yield
    finally:
        if maintenance:
            connections[MAINTENANCE].close()
            del connections[MAINTENANCE]
            del connections.databases[MAINTENANCE]
        connection.close()
        connection.settings_dict.update(usual)


@pytest.fixture
def manage(django_db_setup: None, django_db_blocker: Any, tmp_path: Path, settings: LazySettings) -> Iterator[Manage]:
    """manage.py on a server of its own, whose roles are nobody else's; `role` and `maintenance` are who connects."""
    settings.BACKUP_DIR = str(tmp_path)
    with django_db_blocker.unblock(), topology.copy_of(suite.TEST_SERVER) as server:
        url = server.url(connection.settings_dict["NAME"])

        def run(*words: str, role: str = "postgres", maintenance: str = "") -> Done:
            out, err = io.StringIO(), io.StringIO()
            with connected(url, role, maintenance):
                try:
                    call_command(*words, stdout=out, stderr=err)
                except CommandError as error:
                    return Done(error.returncode, out.getvalue(), f"{err.getvalue()}{error}")
            return Done(0, out.getvalue(), err.getvalue())

        installed = run("database", "init", "--roles")
        assert installed.returncode == 0, installed.stderr
        yield run


def test_backup_drill_and_comparison_need_the_role_for_them_as_jobs_and_as_commands(manage: Manage) -> None:
    compared = manage("run_job", "verify", role=roles.APPLICATION)
    assert "verify: skipped: permission denied for database" in compared.stdout
    refused = manage("run_job", "backup", role=roles.APPLICATION)
    assert (refused.returncode, "permission denied for table" in refused.stderr) == (1, True)

    for job in ("verify", "backup", "drill"):
        done = manage("run_job", job, role=roles.APPLICATION, maintenance=roles.BACKUP)
        assert done.returncode == 0, done.stderr

    for words in (("verify",), ("backup",)):
        refused = manage("database", *words, role=roles.APPLICATION)
        assert refused.returncode == 1
        assert "permission denied" in refused.stderr
        assert refused.stderr.rstrip().endswith(": name a role that may in MAINTENANCE_DATABASE_URL")
    for words in (("verify",), ("backup",), ("drill",)):
        done = manage("database", *words, role=roles.APPLICATION, maintenance=roles.BACKUP)
        assert done.returncode == 0, done.stderr
