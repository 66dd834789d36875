"""With least privilege: the application may not, the role that docs/back-up-and-restore.md names may."""

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest
from django.conf import settings
from django.db import connection

from glyphforge.database import roles
from tests.support import processes, topology
from tests.support.needs import needs

ROOT = Path(__file__).resolve().parents[3]
DOCUMENTED = "CREATE ROLE glyphforge_backup LOGIN CREATEDB IN ROLE glyphforge_owner"
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
        with psycopg.connect(url) as superuser:
            superuser.execute(DOCUMENTED)
        yield run


def test_backup_drill_and_comparison_need_the_role_of_the_docs(manage: Manage) -> None:
    assert DOCUMENTED in (ROOT / "docs" / "back-up-and-restore.md").read_text()

    compared = manage("run_job", "verify", role=roles.APPLICATION)
    assert "verify: skipped: permission denied for database" in compared.stdout
    refused = manage("run_job", "backup", role=roles.APPLICATION)
    assert (refused.returncode, "permission denied for table" in refused.stderr) == (1, True)

    for job in ("verify", "backup", "drill"):
        done = manage("run_job", job, role=roles.APPLICATION, maintenance="glyphforge_backup")
        assert done.returncode == 0, done.stderr
