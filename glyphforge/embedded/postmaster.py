"""What the server process left behind: its pid file, its relatives, its last words in the log."""

import os
import pwd
import time
from pathlib import Path

WAIT_FOR_CHILDREN_SECONDS = 20
TRANSIENT = ("is still in use", "lock file", "shared memory block", "the database system is shutting down")


def recorded_pid(data: Path) -> int | None:
    """The pid in the cluster's postmaster.pid; None without the file or with a torn one."""
    try:
        return int((data / "postmaster.pid").read_text().split()[0])
    except (OSError, ValueError, IndexError):
        return None


def running_pid(data: Path) -> int | None:
    """The pid of the server that runs this cluster, None when it does not run.

    A zombie is no server, and neither is a foreign process that got the same pid after a crash.
    """
    pid = recorded_pid(data)
    if pid is None or not _exists(pid):
        return None
    if not Path("/proc/self").exists():
        return pid
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return None
    if state == "Z" or not words[0].endswith((b"postgres", b"postmaster")):
        return None
    return pid if os.fsencode(data) in words else None


def ends_within(data: Path, *, seconds: float) -> bool:
    """Whether the server is gone now or within `seconds`."""
    deadline = time.monotonic() + seconds
    while running_pid(data) is not None:
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def clear_stale_pid_file(data: Path) -> None:
    """Remove a dead server's pid file once none of its children is left.

    PostgreSQL does so itself, except where the pid now belongs to a zombie or to another process of this
    account. The file guards against starting over living children, so it goes only after them. Without
    /proc it stays.
    """
    file = data / "postmaster.pid"
    if not file.exists() or not Path("/proc/self").exists() or running_pid(data):
        return
    deadline = time.monotonic() + WAIT_FOR_CHILDREN_SECONDS
    while _has_processes(data):
        if time.monotonic() > deadline:
            return
        time.sleep(0.1)
    file.unlink(missing_ok=True)


def failure_in_log(log: Path, offset: int) -> str:
    """The line of the log after `offset` bytes that says why the server gave up; empty when none does."""
    with log.open("rb") as lines:
        lines.seek(offset)
        text = lines.read().decode(errors="replace")
    return relevant_line(text, markers=("FATAL:", "PANIC:", "could not"), default="")


def is_transient(reason: str) -> bool:
    """Whether the failure is of the kind that ends by itself after a crash."""
    return any(phrase in reason for phrase in TRANSIENT)


def relevant_line(
    text: str, *, markers: tuple[str, ...] = ("error:", "FATAL:", "cannot "), default: str | None = None
) -> str:
    """The one line of a program's output worth showing: the first with a marker, else the last."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    for line in lines:
        if any(marker in line for marker in markers):
            return line
    if default is not None:
        return default
    return lines[-1] if lines else "no message"


def quoted(value: str) -> str:
    """`value` as one word for pg_ctl's -o, which goes through a shell."""
    return "'" + value.replace("'", "'\\''") + "'"


def account_name(uid: int) -> str:
    """The account's name, or its number when it has none."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"user {uid}"


def _exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _has_processes(data: Path) -> bool:
    """Whether a living process works in the data folder, as every server process does."""
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            if (entry / "cwd").readlink() == data:
                return True
        except OSError:
            continue
    return False
