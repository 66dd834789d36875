"""With least privilege: the application may not, the role of MAINTENANCE_DATABASE_URL may."""

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from django.conf import settings
from django.db import connection

from glyphforge.database import roles
from tests.support import processes, topology
from tests.support.needs import needs

Manage = Callable[..., "subprocess.CompletedProcess[str]"]

pytestmark = [
    pytest.mark.slow,
    pytest.mark.django_db(transaction=True),
    needs(settings.TEST_SERVER, "the suite's own server"),
]


@pytest.fixture
def manage(tmp_path: Path) -> Iterator[Manage]:
    """manage.py on a server of its own, whose roles are nobody else's; `role` and `maintenance` are who connects."""
    with topology.copy_of(settings.TEST_SERVER) as server:
        url = server.url(connection.settings_dict["NAME"])

        def run(*words: str, role: str = "postgres", maintenance: str = "") -> "subprocess.CompletedProcess[str]":
            return processes.finished(
                "manage.py",
                *words,
                DATABASE_URL=url.replace("postgres@", f"{role}@"),
                MAINTENANCE_DATABASE_URL=url.replace("postgres@", f"{maintenance}@") if maintenance else "",
                BACKUP_DIR=str(tmp_path),
            )

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
