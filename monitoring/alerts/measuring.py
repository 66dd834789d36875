"""What SQL cannot measure: settings, disks, the rights of the role in which the evaluation runs.

Written down at each evaluation, so that `v_system_health` shows it to psql too.
"""

import logging
import os
import shutil
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from django.conf import settings
from django.db import Error, connection

from billing.stripe import mode
from glyphforge.database.budget import LOCK_SECONDS, SECONDS, Budget, limited
from glyphforge.database.clock import seconds_behind
from glyphforge.database.connection import takes_a_connection
from monitoring.notifications import dead_mans_switch, routing

logger = logging.getLogger(__name__)

# A value, None where it is not known, and what it means in words.
Measured = tuple[float | None, str]


def measure() -> None:
    """Measure and write down every check of `MEASURES`, and how full the disks are. Never raises for a locked table."""
    budget = Budget()
    found = {name: budget.read(name, read, None) for name, read in MEASURES.items()}
    compare_clocks()
    nowhere: list[tuple[str, int, int | None]] = []
    samples = budget.read("disks", lambda: list(_places()), nowhere)
    _write(
        "INSERT INTO measurements (check_name, host, value, message) VALUES (%s, %s, %s, %s)"
        " ON CONFLICT (check_name, host) DO UPDATE SET value = excluded.value, message = excluded.message,"
        " measured_at = excluded.measured_at",
        [(name, socket.gethostname(), *each) for name, each in found.items() if each],
    )
    _write(
        "INSERT INTO disk_samples (host, place, sampled_at, used_bytes, free_bytes)"
        " VALUES (%s, %s, date_trunc('hour', now()), %s, %s) ON CONFLICT (place, host, sampled_at)"
        " DO UPDATE SET used_bytes = excluded.used_bytes, free_bytes = excluded.free_bytes",
        [(socket.gethostname(), *sample) for sample in samples],
    )


def ask_outside() -> None:
    """Ask HEARTBEAT_URL, where it is set, and write down how often in a row it did not answer."""
    if not settings.HEARTBEAT_URL:
        return
    problem = dead_mans_switch.ask()
    _write(
        "INSERT INTO measurements AS m (check_name, host, value, message) VALUES ('heartbeat_url', %s, %s, %s)"
        " ON CONFLICT (check_name, host) DO UPDATE SET message = excluded.message, measured_at = excluded.measured_at,"
        " value = CASE excluded.value WHEN 0 THEN 0 ELSE m.value + 1 END",
        [(socket.gethostname(), 1 if problem else 0, problem or "HEARTBEAT_URL answers.")],
    )


def compare_clocks() -> None:
    """Write down how far this machine's clock is from the database's, in seconds, where it is news of a minute."""
    seconds = seconds_behind()
    said = f"is {abs(seconds):.0f} s {'behind' if seconds > 0 else 'ahead of'}" if abs(seconds) >= 1 else "agrees with"
    _write(
        "INSERT INTO measurements AS m (check_name, host, value, message) VALUES ('clock_skew', %s, %s, %s)"
        " ON CONFLICT (check_name, host) DO UPDATE SET value = excluded.value, message = excluded.message,"
        " measured_at = excluded.measured_at"
        " WHERE m.value <> excluded.value OR m.measured_at < clock_timestamp() - interval '1 minute'",
        [(socket.gethostname(), round(abs(seconds)), f"The clock of {socket.gethostname()} {said} the database's.")],
    )


def _write(statement: str, rows: list[tuple[Any, ...]]) -> None:
    try:
        with limited(lock_seconds=LOCK_SECONDS, statement_seconds=SECONDS), connection.cursor() as cursor:
            cursor.executemany(statement, rows)
    except Error as error:
        if getattr(error.__cause__, "sqlstate", None) is None:
            raise
        logger.warning("What was measured cannot be written down", exc_info=True)


def _one(statement: str, *parameters: bool) -> tuple[Any, ...]:
    with connection.cursor() as cursor:
        cursor.execute(statement, parameters)
        row: tuple[Any, ...] = cursor.fetchone()
    return row


def _alert_channels() -> Measured:
    names = [str(channel.label) for channel in routing.configured()]
    if not names:
        return 0, "Alerts are sent to nobody: neither SLACK_WEBHOOK_URL nor ALERT_EMAIL is set."
    return len(names), f"Alerts go to {' and '.join(names)}."


def _stripe_mode() -> Measured:
    problems = mode.problems()
    return len(problems), " ".join(problems) or f"The keys are those of {mode.name()} mode."


def _other_mode_events() -> Measured:
    ours, others = _one(
        "SELECT count(*) FILTER (WHERE livemode = %s), count(*) FILTER (WHERE livemode <> %s)"
        " FROM stripe_webhook_events WHERE received_at > now() - interval '1 day'",
        settings.STRIPE_LIVE_MODE,
        settings.STRIPE_LIVE_MODE,
    )
    if others and not ours:
        return others, f"Of {others} events of the last day none is of {mode.name()} mode: all were ignored."
    return 0, f"Events of the last day in {mode.name()} mode: {ours}, in the other: {others}."


def _missing_rights() -> Measured:
    role, sees_all = _one("SELECT current_user, pg_has_role(current_user, 'pg_read_all_stats', 'USAGE')")
    if sees_all:
        return 0, f"{role} sees what other sessions do."
    return 1, f"{role} does not see what other sessions do: GRANT pg_read_all_stats TO {role}."


def _replica_away() -> Measured:
    """Whether the database of DATABASE_REPLICA_URL takes a connection from here."""
    if "replica" not in settings.DATABASES:
        return 0, "DATABASE_REPLICA_URL is not set: every page reads the primary."
    if takes_a_connection("replica"):
        return 0, "The replica of DATABASE_REPLICA_URL answers."
    return 1, "The replica of DATABASE_REPLICA_URL does not answer: its pages read the primary meanwhile."


def _unwritable_folders() -> Measured:
    """Whether backups and log lines have somewhere to go: a disk may be not mounted, or read only."""
    folders = {"BACKUP_DIR": settings.BACKUP_DIR, "LOG_DIR": settings.LOG_DIR}
    bad = [f"{name} {folder}" for name, folder in folders.items() if folder and not _takes_files(Path(folder))]
    if bad:
        return len(bad), f"On {socket.gethostname()} nothing can be written to {' and '.join(bad)}."
    return 0, f"The folders of {socket.gethostname()} can be written to."


def _takes_files(folder: Path) -> bool:
    try:
        return folder.is_dir() and os.access(folder, os.W_OK | os.X_OK)
    except OSError:  # of a disk that is gone: the system cannot even say what is there
        return False


MEASURES: dict[str, Callable[[], Measured]] = {
    "alert_channels": _alert_channels,
    "stripe_mode": _stripe_mode,
    "other_mode_events": _other_mode_events,
    "missing_rights": _missing_rights,
    "replica_away": _replica_away,
    "unwritable_folders": _unwritable_folders,
}


def _places() -> Iterator[tuple[str, int, int | None]]:
    """Each place with its used and free bytes, the latter None where its disk is another machine's."""
    for name, folder in (("BACKUP_DIR", settings.BACKUP_DIR), ("LOG_DIR", settings.LOG_DIR)):
        if folder and (usage := _usage(Path(folder))):
            yield name, *usage
    data, database, wal = _one(
        # Where the role may not see the setting it has no row. A server elsewhere has a path that means nothing here.
        "SELECT (SELECT setting FROM pg_settings WHERE name = 'data_directory'"
        " AND coalesce(host(inet_server_addr()) IN ('127.0.0.1', '::1'), true)), pg_database_size(current_database()),"
        " CASE WHEN has_function_privilege('pg_ls_waldir()', 'EXECUTE')"
        " THEN (SELECT sum(size) FROM pg_ls_waldir()) END::bigint"
    )
    usage = _usage(Path(data)) if data else None
    if usage:
        yield "data directory", *usage
    free = usage[1] if usage else None
    yield "database", database, free
    if wal is not None:
        yield "WAL", wal, free


def _usage(folder: Path) -> tuple[int, int] | None:
    """The used and free bytes of the folder's disk; None where it is not there or may not be seen."""
    try:
        usage = shutil.disk_usage(folder)
    except OSError:
        return None
    return usage.used, usage.free
