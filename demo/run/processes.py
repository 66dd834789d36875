"""The processes that `make run` starts: each in a group of its own, none of them outliving it."""

import os
import signal
import subprocess
import time
from contextlib import suppress
from pathlib import Path

from glyphforge.observability.terminal import say
from glyphforge.processes import die_with_parent

STOP_SECONDS = 15
RESTART_SECONDS = 2.0
RESTARTS_IN_A_ROW = 5


class Process:
    """One command, its log file, and how often it had to be started again."""

    def __init__(self, name: str, command: list[str], log: Path) -> None:
        self.name = name
        self.command = command
        self.log = log
        self._process: subprocess.Popen[bytes] | None = None
        self._started_at = 0.0
        self._restarts = 0

    def start(self) -> None:
        """Start it with closed input, output in its log, and a group of its own, so that Ctrl-C does not reach it."""
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                self.command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=die_with_parent(),  # noqa: PLW1509 - this process has one thread
            )
        self._started_at = time.monotonic()

    @property
    def pid(self) -> int:
        """The pid of the process, which is also its group's; 0 before the start."""
        return self._process.pid if self._process else 0

    def has_ended(self) -> bool:
        """Whether it does not run now; before the start it does not either."""
        return self._process is None or self._process.poll() is not None

    def restart_if_ended(self) -> None:
        """Start it again after it died, and say so; raises RuntimeError when it keeps dying at once."""
        if self._process is None or self._process.poll() is None:
            return
        lived = time.monotonic() - self._started_at
        self._restarts = self._restarts + 1 if lived < 30 else 1
        if self._restarts > RESTARTS_IN_A_ROW:
            raise RuntimeError(f"the {self.name} keeps stopping: {self.last_log_line()} ({self.log})")
        say(f"The {self.name} ended (exit {self._process.returncode}); starting it again.")
        self._signal(signal.SIGKILL)  # what its group left behind
        time.sleep(RESTART_SECONDS if self._restarts > 1 else 0)
        self.start()

    def ask_to_stop(self) -> None:
        """Send SIGTERM to the command, which ends its own children in order; does not wait."""
        self._signal(signal.SIGTERM)

    def kill_after(self, deadline: float) -> None:
        """Wait for the end until `deadline` (monotonic), then end its whole group by force."""
        if self._process is None:
            return
        try:
            self._process.wait(max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            say(f"The {self.name} does not stop; ending it by force.")
        self._signal(signal.SIGKILL)
        self._process.wait()

    def last_log_line(self) -> str:
        """The last line of its log."""
        lines = self.log.read_text(errors="replace").strip().splitlines()
        return lines[-1] if lines else "it said nothing"

    def _signal(self, number: signal.Signals) -> None:
        if self._process is None:
            return
        target = self._process.pid
        with suppress(ProcessLookupError):  # the group is gone already
            if number == signal.SIGKILL:
                os.killpg(target, number)
            else:
                # The leader ends its workers in order; the same signal to all of them would race with that.
                os.kill(target, number)


def stop_all(processes: list[Process]) -> None:
    """End all of them and what they started: politely, then by force after STOP_SECONDS together."""
    deadline = time.monotonic() + STOP_SECONDS
    for process in processes:
        process.ask_to_stop()
    for process in processes:
        process.kill_after(deadline)
