"""Each role is tried with every table, function and setting: what it may is what is written here, and no more."""

from collections.abc import Iterator
from typing import Any

import pytest
from django.db import connection

from glyphforge.database import grants, roles, verify
from tests.support.needs import require
from tests.support.sql import query, run

pytestmark = pytest.mark.django_db

READ, ADD, WRITE = {"SELECT"}, {"SELECT", "INSERT"}, {"SELECT", "INSERT", "UPDATE", "DELETE"}
READ_ONLY = {
    *("audit_log", "audit_seals", "read_log", "installation", "django_migrations"),
    *("api_usage_deltas", "monthly_usage_totals", "entitled_statuses", "quota_rule"),
}
ADDED_TO = {"api_usage", "payment_movements", "usage_corrections"}
SECRET_TO_SUPPORT = {"api_keys"}  # but for its columns of hashes
FORGETTING = {"cleanup_audit_log", "cleanup_old_api_usage", "cleanup_read_log"}
NOT_THE_WEBS = FORGETTING | {
    *("cleanup_api_usage_request_ids", "cleanup_rate_limits", "cleanup_webhook_events", "create_api_usage_partitions"),
    *(
        "fold_traffic",
        "roll_up_usage",
        "run_daily_maintenance",
        "run_weekly_maintenance",
        "create_audit_log_partitions",
    ),
    *("seal_audit_log", "analyze_partitioned_tables", "create_monthly_partition", "create_monthly_partitions"),
    *("delete_rows", "drop_partitions_before", "make_monthly_partitions", "run_maintenance_tasks"),
}

# Tries a statement, and undoes what it did; whether the role may.
TRY = """
CREATE FUNCTION pg_temp.may(statement text) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
    BEGIN
        EXECUTE statement;
        RAISE assert_failure;
    EXCEPTION
        WHEN assert_failure THEN RETURN true;
        WHEN insufficient_privilege THEN RETURN false;
        WHEN OTHERS THEN RETURN true;
    END;
END
$$
"""
STATEMENTS = """
SELECT c.relname AS name, c.relkind::text AS kind, c.relispartition AS is_partition, s.privilege,
    pg_temp.may(format(s.statement, c.oid::regclass, (
        SELECT quote_ident(attname) FROM pg_attribute AS a
        WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = '' AND a.attidentity = ''
        ORDER BY a.attnum LIMIT 1
    ))) AS may
FROM pg_class AS c
CROSS JOIN (
    VALUES
        ('SELECT', 'SELECT * FROM %1$s LIMIT 0'),
        ('INSERT', 'INSERT INTO %1$s (%2$s) SELECT NULL WHERE false'),
        ('UPDATE', 'UPDATE %1$s SET %2$s = NULL WHERE false'),
        ('DELETE', 'DELETE FROM %1$s WHERE false'),
        ('TRUNCATE', 'TRUNCATE %1$s'),
        ('ALTER', 'ALTER TABLE %1$s OWNER TO CURRENT_USER'),
        ('TRIGGER', 'CREATE TRIGGER mine BEFORE INSERT ON %1$s EXECUTE FUNCTION set_updated_at()')
) AS s (privilege, statement)
WHERE c.relnamespace = 'public'::regnamespace AND (
    c.relkind IN ('r', 'p') OR (c.relkind = 'v' AND s.privilege IN ('SELECT', 'INSERT', 'UPDATE', 'DELETE'))
) AND NOT EXISTS (SELECT FROM pg_depend AS d WHERE d.objid = c.oid AND d.deptype = 'e')
"""


@pytest.fixture(autouse=True)
def _installed(db: None) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT current_setting('is_superuser')")
        require(cursor.fetchone() == ("on",), "a superuser, to create the roles")
    roles.install()
    run("SET LOCAL statement_timeout = 0")
    run(TRY)


@pytest.fixture(params=[roles.APPLICATION, roles.WEB, roles.WORKER, roles.RETENTION, roles.SUPPORT, roles.MONITOR])
def role(request: pytest.FixtureRequest) -> Iterator[str]:
    """Who tries."""
    run(f"SET LOCAL ROLE {request.param}")
    yield request.param
    run("RESET ROLE")


def expected(role: str, table: dict[str, Any]) -> set[str]:
    name, is_view = table["name"], table["kind"] == "v"
    ours = name in OURS
    if table["is_partition"] or role == roles.RETENTION:
        return set()
    if role == roles.MONITOR:
        return READ if is_view and ours else set()
    if role == roles.SUPPORT:
        return READ if ours and name not in SECRET_TO_SUPPORT else set()
    if is_view or name in READ_ONLY:
        return READ
    return ADD if name in ADDED_TO else WRITE


OURS = grants.desired.table_names() | grants.desired.view_names()


def test_tables_and_views(role: str) -> None:
    found: dict[str, set[str]] = {}
    wanted = {}
    for each in query(STATEMENTS):
        found.setdefault(each["name"], set()).update({each["privilege"]} if each["may"] else ())
        wanted[each["name"]] = expected(role, each)
    assert len(found) > 150
    # Nothing else of a view that cannot be written to is refused for want of a right.
    assert {name: may for name, may in found.items() if may - ADD - WRITE} == {}
    views = {name for (name,) in run("SELECT viewname FROM pg_views WHERE schemaname = 'public'")}
    assert {name: may for name, may in found.items() if name not in views and may != wanted[name]} == {}
    rights = {
        name: {privilege for privilege in WRITE if privilege in held}
        for name, held in run(
            "SELECT viewname, ARRAY(SELECT p FROM unnest('{SELECT,INSERT,UPDATE,DELETE}'::text[]) AS p"
            " WHERE has_table_privilege(format('public.%I', viewname), p)) FROM pg_views WHERE schemaname = 'public'"
        )
        if name in OURS
    }
    assert {name: may for name, may in rights.items() if may != wanted[name]} == {}


def test_functions(role: str) -> None:
    rows = query(
        "SELECT p.proname AS name, has_function_privilege(p.oid, 'EXECUTE') AS may, p.prosecdef AS lends_rights,"
        " has_function_privilege('public', p.oid, 'EXECUTE') AS everybody FROM pg_proc AS p"
        " WHERE p.pronamespace = 'public'::regnamespace"
        " AND NOT EXISTS (SELECT FROM pg_depend AS d WHERE d.objid = p.oid AND d.deptype = 'e')"
    )
    known = {each["name"] for each in rows}
    assert known >= NOT_THE_WEBS
    closed = {
        roles.APPLICATION: set(),
        roles.WEB: NOT_THE_WEBS,
        roles.WORKER: FORGETTING,
        roles.RETENTION: known - FORGETTING,
        roles.SUPPORT: known,
        roles.MONITOR: known,
    }[role]
    open_to_all = {each["name"] for each in rows if each["everybody"]}
    may = {each["name"] for each in rows if each["may"]}
    assert may == (known - closed) | (open_to_all & known)
    assert [each["name"] for each in rows if each["lends_rights"] and each["everybody"]] == []


def test_settings(role: str) -> None:
    """What only a superuser sets, such as what skips triggers, no role of ours does; nor does it become another one."""
    rows = run(
        "SELECT s.name, pg_temp.may(format('SET LOCAL %I = %L', s.name, s.setting)) FROM pg_settings AS s"
        " WHERE s.context = 'superuser'"
    )
    assert len(rows) > 20
    assert [name for name, may in rows if may] == []
    others = [roles.OWNER, roles.BACKUP, "pg_write_server_files", "pg_execute_server_program", "pg_signal_backend"]
    assert run("SELECT r FROM unnest(%s::text[]) AS r WHERE pg_has_role(r::name, 'MEMBER')", others) == []
    for statement in ("CREATE TABLE mine (x int)", "CREATE SCHEMA mine", "COPY users TO PROGRAM 'true'"):
        assert run("SELECT pg_temp.may(%s)", statement) == [(False,)], statement


def test_partition_of_later_gives_no_more_than_its_parent() -> None:
    run("SELECT create_api_usage_partitions(5), create_audit_log_partitions(5)")
    assert [str(each) for each in verify.differences() if each.kind == "right"] == []
    run("SET LOCAL ROLE glyphforge_app")
    partitions = query(STATEMENTS + " AND c.relispartition")
    assert partitions
    assert [each for each in partitions if each["may"]] == []


def test_queue_of_usage_takes_nothing_back() -> None:
    run("SET LOCAL ROLE glyphforge_app")
    values = "gen_random_uuid(), now(), 0, date_trunc('month', now()), -5, 0, 0"
    columns = "user_id, last_request_at, total_response_time_ms, month, total_requests, failed_requests"
    statement = f"INSERT INTO api_usage_deltas ({columns}, max_response_time_ms) VALUES ({values})"
    assert run("SELECT pg_temp.may(%s)", statement) == [(False,)]


@pytest.mark.parametrize(
    ("drift", "named"),
    [
        ("GRANT DELETE ON audit_log TO glyphforge_app", "audit_log of glyphforge_app: should not have DELETE"),
        ("GRANT SELECT ON users TO PUBLIC", "users of PUBLIC: should not have SELECT"),
        ("GRANT SELECT (key_hash) ON api_keys TO glyphforge_support", "should not have SELECT key_hash"),
        ("REVOKE INSERT ON users FROM glyphforge_worker", "users of glyphforge_worker: lacks INSERT"),
        ("GRANT EXECUTE ON FUNCTION cleanup_audit_log TO glyphforge_web", "of glyphforge_web: should not have EXECUTE"),
        ("GRANT USAGE ON SEQUENCE audit_log_id_seq TO glyphforge_monitor", "should not have USAGE"),
        (
            "ALTER DEFAULT PRIVILEGES FOR ROLE glyphforge_owner IN SCHEMA public GRANT TRUNCATE ON TABLES TO PUBLIC",
            "default of glyphforge_owner: ALTER DEFAULT PRIVILEGES",
        ),
        ("ALTER TABLE plans OWNER TO CURRENT_USER", "different table plans: owner is"),
    ],
)
def test_rights_that_differ_are_named_and_mended(drift: str, named: str) -> None:
    run(drift)
    compared = verify.compare()
    assert named in "\n".join(map(str, compared.differences))
    roles.install()
    assert [str(each) for each in verify.differences()] == []


def test_a_migration_renews_rights_without_a_superuser() -> None:
    run("SET LOCAL ROLE glyphforge_owner")
    run("CREATE TABLE later (id int)")
    run("DROP FUNCTION cleanup_read_log")
    run(
        "CREATE FUNCTION cleanup_read_log(days int) RETURNS bigint LANGUAGE sql SECURITY DEFINER"
        " SET search_path = public, pg_temp AS 'SELECT 1::bigint'"
    )
    run("REVOKE EXECUTE ON FUNCTION cleanup_read_log FROM PUBLIC")
    assert run("SELECT has_function_privilege('glyphforge_web', 'cleanup_read_log(int)', 'EXECUTE')") == [(True,)]
    roles.renew()
    assert run("SELECT has_function_privilege('glyphforge_web', 'cleanup_read_log(int)', 'EXECUTE')") == [(False,)]
    assert run("SELECT has_table_privilege('glyphforge_web', 'later', 'INSERT')") == [(True,)]
