"""Starts database, web server, worker and the demo's Stripe; keeps them up; stops what it started."""

import fcntl
import http.client
import os
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

import django

from demo.run.configuration import ROOT, VAR, Configuration, UnusableError, require_free_port
from demo.run.processes import Process, stop_all
from glyphforge import embedded
from glyphforge.observability.terminal import say

START_SECONDS = 60
DEMO_USERS = 3000
DEMO_USAGE = 300_000
LOGS = VAR / "log"
OWNERSHIP = VAR / ".run.owns-postgres"
STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Stopped(BaseException):
    """A signal asked to stop. Not an Exception: nothing on the way may swallow it."""


def run(configuration: Configuration) -> None:
    """Start everything, wait for a signal, stop everything; raises Stopped when the signal came.

    Raises UnusableError when a part does not start. In every case what was started is stopped.
    """
    # Settings are read now that the environment is complete, and refused before anything is started.
    django.setup()
    for number in STOPPING:
        # nohup asks for just that: to live on when the terminal closes.
        if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, _stop)
    with _only_one(configuration):
        started: list[Process] = []
        require_free_port(configuration.port)
        cluster = embedded.server(VAR / "postgres") if configuration.embedded else None
        # Left by a run that was killed, or not running yet: ours to stop. Started by another command: left alone.
        ours = cluster is not None and (OWNERSHIP.exists() or not cluster.is_running())
        try:
            if cluster:
                say("Starting PostgreSQL")
                if ours:
                    OWNERSHIP.touch()
                cluster.start()
            with _database_errors_in_one_line(configuration):
                _start(configuration, started)
            _watch(started, cluster)
        finally:
            _shield_from_signals()
            say("Stopping.")
            stop_all(started)
            if cluster and ours:
                cluster.stop()
                OWNERSHIP.unlink(missing_ok=True)


def _start(configuration: Configuration, started: list[Process]) -> None:
    from django.core.management import call_command  # noqa: PLC0415
    from django.db import connections  # noqa: PLC0415

    from glyphforge.database.migrate import migrate  # noqa: PLC0415

    migrate()
    call_command("collectstatic", interactive=False, verbosity=0)
    if configuration.demo:
        _seed()
    for process in _processes(configuration):
        started.append(process)
        process.start()
    for process in started:
        if port := {"local Stripe": configuration.own_stripe_port, "web server": configuration.port}.get(process.name):
            _wait_for(process, port)
    if configuration.demo:
        _fill(configuration, started)
    _announce(configuration)
    _examine()
    connections.close_all()


@contextmanager
def _database_errors_in_one_line(configuration: Configuration) -> Iterator[None]:
    """One line for a database that cannot be reached, has no space left, went away, or is of an earlier release."""
    from django.db import OperationalError, ProgrammingError  # noqa: PLC0415
    from psycopg import errors  # noqa: PLC0415

    try:
        yield
    except ProgrammingError as error:
        if not isinstance(error.__cause__, errors.DuplicateTable | errors.DuplicateObject | errors.DuplicateFunction):
            raise
        where = "delete the folder var" if configuration.embedded else "name an empty one in DATABASE_URL"
        raise UnusableError(f"The database is of a release whose migrations do not go on: {where}. {error}") from error
    except OperationalError as error:
        # What follows the message is the statement that met it, which may be a page long.
        message = " ".join(str(error).partition("\nCONTEXT:")[0].split())
        raise UnusableError(f"{'PostgreSQL' if configuration.embedded else 'DATABASE_URL'}: {message}") from error


def _seed() -> None:
    """Customers in bulk, before anything runs: what a worker writes must not be taken for the synthetic past."""
    from demo.seed import seeding  # noqa: PLC0415

    if not seeding.is_seeded():
        seeding.seed(users=DEMO_USERS, usage=DEMO_USAGE)


def _fill(configuration: Configuration, started: list[Process]) -> None:
    """Events through the real endpoint, and staff logins."""
    from demo.run import arrears, events, staff  # noqa: PLC0415

    staff.ensure_logins(staff.demo_password(VAR / "demo_password"))
    delivered = events.deliver(configuration.url, configuration.webhook_secret) if configuration.own_stripe_port else []
    events.wait_until_processed(delivered, lambda: _restart_ended(started))
    if configuration.own_stripe_port:
        arrears.fetch()


def _processes(configuration: Configuration) -> Iterator[Process]:
    python = sys.executable
    if configuration.own_stripe_port:
        stripe = ["demo.stripe.server", "--port", str(configuration.own_stripe_port), "--synthetic"]
        hook = ["--webhook-url", f"{configuration.url}/webhooks/stripe/"]
        yield Process("local Stripe", [python, "-m", *stripe, *hook], LOGS / "stripe.log")
    bind = ["--bind", f"127.0.0.1:{configuration.port}"]
    size = ["--workers", "2", "--threads", "4", "--access-logfile", "-", "--no-control-socket"]
    web = [python, "-m", "gunicorn", "glyphforge.wsgi:application", *bind, *size]
    yield Process("web server", web, LOGS / "web.log")
    yield Process("worker", [python, str(ROOT / "manage.py"), "worker"], LOGS / "worker.log")


def _wait_for(server: Process, port: int) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        if server.has_ended():
            raise UnusableError(f"the {server.name} does not start: {server.last_log_line()} ({server.log})")
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        try:
            connection.request("GET", "/admin/login/")
            if connection.getresponse().status < 500:
                return
        except OSError:
            pass  # not listening yet
        finally:
            connection.close()
        time.sleep(0.2)
    raise UnusableError(f"the {server.name} gives no answer after {START_SECONDS} s; see {server.log}")


def _restart_ended(started: list[Process]) -> None:
    for process in started:
        try:
            process.restart_if_ended()
        except RuntimeError as error:
            raise UnusableError(str(error)) from error


def _watch(started: list[Process], cluster: embedded.Server | None) -> None:
    """Keep everything running until a signal comes or the `make` that started this is killed."""
    parent = os.getppid() if os.environ.get("MAKELEVEL") else None
    while parent in (None, os.getppid()):
        if cluster and not cluster.is_running():
            say("PostgreSQL ended; starting it again.")
            cluster.start()
        _restart_ended(started)
        time.sleep(1)
    raise Stopped


def _announce(configuration: Configuration) -> None:
    say()
    say(f"  The back office is at {configuration.url}/admin/")
    if configuration.demo:
        from demo.run import staff  # noqa: PLC0415

        say(f"  Demo logins: {', '.join((*staff.GROUPS, staff.ADMIN))}")
        say(f"  Password of each: {staff.demo_password(VAR / 'demo_password')}")
    else:
        say("  No demo data: this database is not the demo's. Make a login with: manage.py createsuperuser")
    say(f"  Logs: {LOGS}")
    say("  Ctrl-C stops it; the data stays.")
    say()


def _examine() -> None:
    """What the doctor has to say: how many lines of each kind, and what does not work. The demo plants poor health."""
    from monitoring.doctor.examination import examine  # noqa: PLC0415
    from monitoring.doctor.finding import STATUSES  # noqa: PLC0415
    from monitoring.doctor.registry import checks  # noqa: PLC0415
    from monitoring.worker.heartbeat import queue_state  # noqa: PLC0415

    deadline = time.monotonic() + START_SECONDS
    while not queue_state().alive and time.monotonic() < deadline:
        time.sleep(0.2)  # the worker has only just been started
    found = [(name, finding) for name, findings in examine(checks(send=False)) for finding in findings]
    for name, finding in found:
        if finding.status == "critical" and name != "health":
            say(f"  {name}: {finding.message}; to mend it: {finding.fix}")
    counts = ", ".join(f"{sum(each.status == status for _, each in found)} {status}" for status in STATUSES)
    (LOGS / "doctor.log").write_text("".join(f"{finding.text(name)}\n" for name, finding in found))
    say(f"  Examined by the doctor: {counts}; {LOGS / 'doctor.log'} has each line")
    say()


@contextmanager
def _only_one(configuration: Configuration) -> Iterator[None]:
    """Two supervisors would stop the embedded server under each other."""
    VAR.mkdir(exist_ok=True)
    name = ".run.lock" if configuration.embedded else f".run.{configuration.port}.lock"
    descriptor = os.open(VAR / name, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UnusableError(f"already running here: {os.read(descriptor, 200).decode()}") from None
        os.ftruncate(descriptor, 0)
        os.write(descriptor, f"process {os.getpid()}, {configuration.url}".encode())
        yield
    finally:
        os.close(descriptor)


def _stop(number: int, frame: FrameType | None) -> None:
    raise Stopped


def _shield_from_signals() -> None:
    """A second Ctrl-C must not interrupt the stopping half-way; it has a time limit of its own."""
    for number in STOPPING:
        signal.signal(number, signal.SIG_IGN)
