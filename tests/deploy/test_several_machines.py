"""Many processes on one database through PgBouncer in transaction mode, with a replica for the monitoring pages."""

import json
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
from django.conf import settings

from monitoring.jobs.cron import latest_slot
from monitoring.jobs.registry import JOBS
from tests.support import database, processes, topology
from tests.support.needs import needs
from tests.support.waiting import wait_for

DATABASE = f"several_machines_{database.WORKER}"
CORE = ("tests/test_smoke.py", "tests/billing/sql/test_triggers.py", "tests/glyphforge/audit/test_context.py")

pytestmark = [
    pytest.mark.slow,
    needs(topology.PGBOUNCER, "pgbouncer"),
    needs(settings.TEST_SERVER, "the suite's own server as primary"),
]


@pytest.fixture(scope="module")
def machines(django_db_setup: None) -> Iterator[topology.Topology]:
    """With a database of its own on the primary, copied from the suite's migrated template."""
    folder = Path(tempfile.mkdtemp(prefix="glyphforge-machines-"))
    with database.copy(DATABASE), topology.started(settings.TEST_SERVER, folder) as running:
        yield running


def addresses(machines: topology.Topology) -> dict[str, str]:
    """The variables that lead a process there."""
    return {"DATABASE_URL": machines.pooled_url(DATABASE), "DATABASE_REPLICA_URL": machines.standby.url(DATABASE)}


OBSERVE = """
import django, json
django.setup()
from django.conf import settings
from django.db import DatabaseError, connection, connections, router
from billing.models import User
from glyphforge.audit import acting_as
from monitoring.jobs import steps
from monitoring.jobs.deadline import deadline
from monitoring.models import RevenueMetrics, UserGrowth

def asked(alias, query):
    with connections[alias].cursor() as cursor:
        cursor.execute(query)
        return cursor.fetchone() if cursor.description else None

growth = UserGrowth.objects.order_by("-month").first()
found = {
    "growth": [UserGrowth.objects.all().db, *asked(UserGrowth.objects.all().db, "SELECT pg_is_in_recovery()")],
    "customers_grown_to": growth.total_users,
    "money": [RevenueMetrics.objects.all().db, *asked(RevenueMetrics.objects.all().db, "SELECT pg_is_in_recovery()")],
    "customers": User.objects.all().db,
    "writes": router.db_for_write(UserGrowth, instance=growth),
    "pooled": "pool" in settings.DATABASES["default"]["OPTIONS"],
}
try:
    asked("replica", "DELETE FROM users")
except DatabaseError as error:
    found["refused"] = str(error)
with acting_as(actor="ada", reason="test"), deadline(5):
    User.objects.create(email="grace@example.com")
    steps.query("SELECT 1")
settings_left = "coalesce(current_setting('app.actor', true), ''), current_setting('statement_timeout')"
found["left"] = asked("default", f"SELECT {settings_left}")
found["actor"] = asked("default", "SELECT actor FROM audit_log WHERE table_name = 'users' ORDER BY id DESC LIMIT 1")[0]
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def observed(machines: topology.Topology) -> dict[str, Any]:
    """What one process finds behind PgBouncer and beside a replica, with one customer in the database."""
    with psycopg.connect(machines.primary.url(DATABASE)) as server:
        server.execute("INSERT INTO users (email) VALUES ('ada@example.com')")
    machines.wait_for_standby()
    done = processes.finished("-c", OBSERVE, **addresses(machines))
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def test_the_suites_core_passes_through_pgbouncer(machines: topology.Topology) -> None:
    values = addresses(machines) | {"DATABASE_URL": machines.pooled_url("postgres")}
    values |= {"TEST_DATABASE": f"pooled_{database.WORKER}", "DJANGO_SETTINGS_MODULE": "tests.settings"}
    done = processes.finished("-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", *CORE, **values)
    assert done.returncode == 0, done.stdout[-4000:]


def is_slot_for_a_minute(cron: str) -> bool:
    """Whether whoever asks within the next minute is told the same slot."""
    now = datetime.now(UTC)
    return latest_slot(cron, now) == latest_slot(cron, now + timedelta(minutes=1))


def test_a_slot_runs_once_on_three_machines_behind_pgbouncer(machines: topology.Topology) -> None:
    command = ["manage.py", "run_job", "sync", "--scheduled", "--trigger", "cron"]
    wait_for(lambda: is_slot_for_a_minute(JOBS["sync"].cron))
    running = [processes.start(*command, output=None, **addresses(machines)) for _ in range(3)]
    assert {process.wait(timeout=300) for process in running} <= {0, 3}
    with psycopg.connect(machines.primary.url(DATABASE)) as server:
        rows = server.execute("SELECT status, count(*) FROM job_runs WHERE job = 'sync' GROUP BY status").fetchall()
    assert rows == [("succeeded", 1)]


def test_monitoring_reads_the_replica_and_money_the_primary(observed: dict[str, Any]) -> None:
    assert observed["growth"] == ["replica", True]
    assert observed["customers_grown_to"] == 1
    assert observed["money"] == ["default", False]
    assert observed["customers"] == "default"


def test_nothing_is_ever_written_to_the_replica(observed: dict[str, Any]) -> None:
    assert observed["writes"] == "default"
    assert "read-only transaction" in observed["refused"]


def test_session_state_does_not_leak_through_pgbouncer(observed: dict[str, Any]) -> None:
    """The audit context and the jobs' time limits are local to a transaction."""
    assert observed["actor"] == "ada"
    assert observed["left"] == ["", "0"]


def test_the_web_process_pools_its_connections_and_no_other_does(
    machines: topology.Topology, observed: dict[str, Any]
) -> None:
    assert observed["pooled"] is False
    script = (
        "import glyphforge.wsgi; from django.db import connection; connection.ensure_connection();"
        "print(connection.pool.get_stats()['pool_size'])"
    )
    done = processes.finished("-c", script, **addresses(machines))
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) >= 1


def test_the_doctor_tells_how_connections_are_pooled_and_what_goes_around_that(machines: topology.Topology) -> None:
    def pooling(**values: str) -> list[tuple[str, str, str]]:
        done = processes.finished("manage.py", "doctor", "--json", DATABASE_URL=machines.pooled_url(DATABASE), **values)
        found = [each for each in json.loads(done.stdout)["findings"] if each["check"] == "pooler"]
        return [(each["status"], each["message"], each["fix"]) for each in found]

    ((status, message, fix),) = pooling()
    assert (status, "MAINTENANCE_DATABASE_URL=" in fix) == ("critical", True), message
    assert pooling(MAINTENANCE_DATABASE_URL=machines.primary.url(DATABASE)) == [
        ("ok", "PgBouncer in transaction mode", "")
    ]
    found = pooling(MAINTENANCE_DATABASE_URL=machines.pooled_url(DATABASE))
    assert ("critical", "MAINTENANCE_DATABASE_URL leads to PgBouncer") in [each[:2] for each in found]
