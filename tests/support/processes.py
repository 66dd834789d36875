"""Programs of the product in processes of their own, on the test database."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from monitoring.models import WorkerHeartbeat
from tests.support import database
from tests.support.waiting import PATIENCE_SECONDS

ROOT = Path(__file__).resolve().parents[2]


def environment(**values: str) -> dict[str, str]:
    """The variables of such a process; `values` are further ones, or others."""
    mine = {"DATABASE_URL": database.url(), "DJANGO_SETTINGS_MODULE": "glyphforge.settings", "LOG_LEVEL": "ERROR"}
    variables = {**os.environ, **mine, **values}
    # Compiled anew by each process, the project's modules are a tenth of what it takes to start.
    variables.pop("PYTHONDONTWRITEBYTECODE", None)
    return variables


def start(*arguments: str, output: IO[bytes] | int | None = subprocess.PIPE, **values: str) -> "subprocess.Popen[str]":
    """Python with these arguments, in a session of its own; `values` as for `environment`."""
    return subprocess.Popen(
        [sys.executable, *arguments],
        cwd=ROOT,
        env=environment(**values),
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=None if output is subprocess.PIPE else output,
        start_new_session=True,
        text=True,
    )


def finished(*arguments: str, folder: Path = ROOT, **values: str) -> "subprocess.CompletedProcess[str]":
    """Python with these arguments, run to its end in `folder`; what it says is captured."""
    command = [sys.executable, *arguments]
    return subprocess.run(command, cwd=folder, env=environment(**values), capture_output=True, text=True, check=False)


@contextmanager
def worker(*options: str, output: IO[bytes] | None = None, **values: str) -> Iterator["subprocess.Popen[str]"]:
    """`manage.py worker`, ended with what it started."""
    process = start("manage.py", "worker", *options, output=output, **{"LOG_LEVEL": "WARNING"} | values)
    try:
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(timeout=PATIENCE_SECONDS)
        except subprocess.TimeoutExpired:
            for group in {process.pid, *WorkerHeartbeat.objects.values_list("cluster_pid", flat=True)}:
                with suppress(ProcessLookupError):
                    os.killpg(group, signal.SIGKILL)
            process.wait()
