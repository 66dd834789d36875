"""With least privilege: the application may not, the role that docs/operations.md names may."""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest
from django.conf import settings
from django.db import connection

from glyphforge.database import roles
from tests.deploy.topology import copied
from tests.needs import needs

ROOT = Path(__file__).resolve().parents[2]
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
    assert settings.TEST_SERVER
    folder = Path(tempfile.mkdtemp(prefix="glyphforge-roles-"))
    server = copied(settings.TEST_SERVER, folder / "copy")
    server.start()
    url = server.url(connection.settings_dict["NAME"])

    def run(*words: str, role: str = "postgres", maintenance: str = "") -> "subprocess.CompletedProcess[str]":
        values = {
            "DATABASE_URL": url.replace("postgres@", f"{role}@"),
            "MAINTENANCE_DATABASE_URL": url.replace("postgres@", f"{maintenance}@") if maintenance else "",
            "BACKUP_DIR": str(tmp_path),
            "DJANGO_SETTINGS_MODULE": "glyphforge.settings",
            "LOG_LEVEL": "ERROR",
        }
        command = [sys.executable, "manage.py", *words]
        return subprocess.run(
            command, cwd=ROOT, env={**os.environ, **values}, capture_output=True, text=True, check=False
        )

    try:
        installed = run("database", "init", "--roles")
        assert installed.returncode == 0, installed.stderr
        with psycopg.connect(url) as superuser:
            superuser.execute(DOCUMENTED)
        yield run
    finally:
        server.stop()
        shutil.rmtree(folder, ignore_errors=True)


def test_backup_drill_and_comparison_need_the_role_of_the_docs(manage: Manage) -> None:
    assert DOCUMENTED in (ROOT / "docs" / "operations.md").read_text()

    compared = manage("run_job", "verify", role=roles.APPLICATION)
    assert "verify: skipped: permission denied for database" in compared.stdout
    refused = manage("run_job", "backup", role=roles.APPLICATION)
    assert (refused.returncode, "permission denied for table" in refused.stderr) == (1, True)

    for job in ("verify", "backup", "drill"):
        done = manage("run_job", job, role=roles.APPLICATION, maintenance="glyphforge_backup")
        assert done.returncode == 0, done.stderr
