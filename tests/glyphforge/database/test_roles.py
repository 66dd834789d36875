"""Each role can do its work and no more."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from django.db import ProgrammingError, connection, transaction

from glyphforge import audit
from glyphforge.database import roles, verify
from tests.support import database, factories
from tests.support.needs import require
from tests.support.sql import run

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _installed(db: None) -> None:
    """Installed in the test's transaction, so that nothing of it outlives the test."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT current_setting('is_superuser')")
        require(cursor.fetchone() == ("on",), "a superuser, to create the roles")
    assert roles.install() == list(roles.ROLES)


@contextmanager
def acting(role: str) -> Iterator[None]:
    with connection.cursor() as cursor:
        cursor.execute(f"SET LOCAL ROLE {role}")
        yield
        cursor.execute("RESET ROLE")


def refuses(statement: str) -> None:
    with pytest.raises(ProgrammingError, match=r"permission denied|must be owner"), transaction.atomic():
        run(statement)


def test_application_does_its_work() -> None:
    with acting(roles.APPLICATION):
        user = factories.customer()
        factories.api_key(user)
        audit.record("note", table_name="users", row_id=user.id)
        run("SELECT record_api_usage(id, '/', 'GET', 200, 1) FROM api_keys")
        factories.requests(user)
        assert run("SELECT allowed FROM api_keys, check_rate_limit(id)") == [(True,)]
        assert run("SELECT start_webhook_processing('evt_1'), complete_webhook_processing('evt_1', NULL)") == [
            (True, True)
        ]
        for name in ("run_daily_maintenance", "run_weekly_maintenance"):
            assert {row[1:] for row in run(f"SELECT task, status, error FROM {name}()")} == {("succeeded", None)}
        assert run("SELECT create_api_usage_partitions(4)") == [(1,)]
        assert run("SELECT total_requests FROM monthly_usage_summary") == [(2,)]


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE audit_log SET actor = 'nobody'",
        "DELETE FROM audit_log",
        "TRUNCATE audit_log",
        "DELETE FROM audit_log_default",
        "DELETE FROM api_usage",
        "UPDATE monthly_usage_totals SET total_requests = 0",
        "DELETE FROM api_usage_deltas",
        "DROP TABLE users",
        "ALTER TABLE audit_log DISABLE TRIGGER append_only",
        "CREATE TABLE hidden (x int)",
        "CREATE FUNCTION hidden() RETURNS int LANGUAGE sql AS 'SELECT 1'",
        "DELETE FROM django_migrations",
    ],
)
def test_application_may_not(statement: str) -> None:
    with acting(roles.APPLICATION):
        refuses(statement)


def test_support_reads_everything_but_secrets() -> None:
    factories.customer(email="ada@example.com")
    with acting(roles.SUPPORT):
        assert run("SELECT email FROM users") == [("ada@example.com",)]
        run("SELECT id, key_prefix FROM api_keys")
        run("SELECT * FROM v_failed_webhook_events")
        for secret in ("SELECT key_hash FROM api_keys", "SELECT * FROM api_keys", "SELECT * FROM djstripe_apikey",
                       "SELECT password FROM auth_user", "SELECT * FROM django_session"):  # fmt: skip
            refuses(secret)
        for change in ("UPDATE users SET name = ''", "SELECT cleanup_old_api_usage()", "SELECT roll_up_usage()"):
            refuses(change)


def test_monitor_sees_the_views_and_no_customers() -> None:
    with acting(roles.MONITOR):
        run("SELECT * FROM v_database_connections")
        run("SELECT * FROM v_system_health")
        refuses("SELECT * FROM users")


def test_full_sequences_are_seen_or_said_to_be_out_of_sight() -> None:
    health = "SELECT status FROM v_system_health WHERE check_name = 'sequences'"
    run("CREATE SEQUENCE narrow AS smallint")  # a sequence of its own, as no rollback takes setval() back
    run("SELECT setval('narrow', 32000)")
    roles.install()
    for role in (roles.MONITOR, roles.SUPPORT, roles.APPLICATION):
        with acting(role):
            assert run(health) == [("critical",)]
    run("REVOKE SELECT ON SEQUENCE narrow FROM glyphforge_monitor")
    with acting(roles.MONITOR):
        assert run(health) == [("unknown",)]


def test_every_role_has_its_limits() -> None:
    limits = {
        name: (count, dict(setting.split("=", 1) for setting in settings))
        for name, count, settings in run(
            "SELECT rolname, rolconnlimit, rolconfig FROM pg_roles WHERE rolname ~ '^glyphforge_'"
        )
    }
    assert set(limits) == set(roles.ROLES)
    assert all(0 < count < 100 for count, _ in limits.values())
    assert all(
        {"lock_timeout", "idle_in_transaction_session_timeout"} <= settings.keys() for _, settings in limits.values()
    )
    assert limits[roles.SUPPORT][1]["default_transaction_read_only"] == "on"


def test_a_limit_that_is_no_longer_the_roles_goes() -> None:
    run("ALTER ROLE glyphforge_monitor SET work_mem = '512MB'")
    roles.install()
    ((settings,),) = run("SELECT rolconfig FROM pg_roles WHERE rolname = 'glyphforge_monitor'")
    assert not [setting for setting in settings if setting.startswith("work_mem")]


def test_only_the_owner_creates_in_public() -> None:
    run("GRANT CREATE ON SCHEMA public TO PUBLIC")  # as a database has it that was upgraded from 14
    roles.install()
    for role in set(roles.ROLES) - {roles.OWNER, roles.BACKUP}:
        with acting(role):
            refuses("CREATE FUNCTION mine(int, interval) RETURNS int LANGUAGE sql AS 'SELECT 1'")


def test_types_are_the_owners_too() -> None:
    run("CREATE TYPE mood AS ENUM ('ok')")
    run("CREATE TYPE pair AS (a int, b int)")
    run("CREATE DOMAIN short AS text")
    roles.install()
    owners = run(
        "SELECT DISTINCT typowner::regrole::text FROM pg_type AS t WHERE typnamespace = 'public'::regnamespace"
        " AND NOT EXISTS (SELECT FROM pg_depend AS d WHERE d.objid = t.oid AND d.deptype = 'e')"
        " AND NOT starts_with(typname, '_')"
    )
    assert owners == [(roles.OWNER,)]


@pytest.mark.parametrize("role", [roles.APPLICATION, roles.SUPPORT, roles.MONITOR])
def test_who_watches_sees_other_sessions(role: str) -> None:
    with database.session(autocommit=True) as other, acting(role):
        other.execute("SELECT 'theirs'")
        seen = run(f"SELECT query FROM pg_stat_activity WHERE pid = {other.info.backend_pid}")
    assert seen == [("SELECT 'theirs'",)]


def test_installing_twice_changes_nothing_and_is_no_drift() -> None:
    roles.install()
    assert [str(difference) for difference in verify.differences()] == []
