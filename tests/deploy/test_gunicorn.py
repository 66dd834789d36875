"""When a web process is replaced by a new one."""

import os
import runpy
import signal
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

CONFIGURATION = Path(__file__).resolve().parents[2] / "deploy" / "gunicorn.conf.py"


def test_web_process_ends_by_itself_after_half_a_day_and_not_after_so_many_requests(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    timers: list[SimpleNamespace] = []

    def timer(after: float, action: Any, arguments: Any) -> SimpleNamespace:
        timers.append(SimpleNamespace(after=after, action=action, arguments=arguments, start=lambda: None))
        return timers[-1]

    monkeypatch.setattr(threading, "Timer", timer)
    configuration = runpy.run_path(str(CONFIGURATION))
    configuration["post_worker_init"](SimpleNamespace(pid=7))
    (made,) = timers
    assert "max_requests" not in configuration
    assert 11 * 3600 <= made.after <= 13 * 3600
    assert (made.action, made.arguments, made.daemon) == (os.kill, (7, signal.SIGTERM), True)
