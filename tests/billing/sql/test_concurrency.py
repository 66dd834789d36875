"""What holds when many do it at once. Everything here commits, in a database of its own."""

import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psycopg
import pytest
from django.db import connection
from psycopg import IsolationLevel

from tests.support import bulk, database
from tests.support.concurrently import COMMITS_AWAITED, KILLS_AWAITED, Concurrently
from tests.support.waiting import wait_for

pytestmark = pytest.mark.django_db


@pytest.fixture
def conninfo(django_db_setup: None, django_db_blocker: Any) -> Iterator[str]:
    """A database of the test's own."""
    with django_db_blocker.unblock(), database.copy(f"{connection.settings_dict['NAME']}_live") as conninfo:
        yield conninfo


@pytest.fixture(scope="module")
def shared(django_db_setup: None, django_db_blocker: Any) -> Iterator[str]:
    """One for the tests that look at the rows that they made and at no others."""
    with django_db_blocker.unblock(), database.copy(f"{connection.settings_dict['NAME']}_shared") as conninfo:
        yield conninfo


def at_once(conninfo: str, workers: int, act: Callable[[psycopg.Connection], Any]) -> list[Any]:
    """Every worker's result; all start together, each on a connection of its own."""
    barrier = threading.Barrier(workers)

    def work(_: int) -> Any:
        with psycopg.connect(conninfo, autocommit=True) as connection:
            barrier.wait()
            return act(connection)

    with ThreadPoolExecutor(workers) as pool:
        return list(pool.map(work, range(workers)))


def rows(conninfo: str, statement: str) -> list[tuple]:
    with psycopg.connect(conninfo, autocommit=True) as connection:
        return connection.execute(statement.encode()).fetchall()


def waiting(conninfo: str, lock: str) -> list[tuple]:
    """Who waits for such a lock in the database."""
    return rows(
        conninfo,
        f"SELECT pid FROM pg_locks WHERE NOT granted AND {lock}"
        " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())",
    )


DIFFERING_MONTHS = """
    SELECT *
    FROM (
        SELECT
            user_id, month, sum(total)::bigint, sum(total - failed)::bigint, sum(failed)::bigint, sum(total_ms)::bigint,
            max(max_ms), max(last_at)
        FROM expected_usage GROUP BY 1, 2
    ) AS t
    FULL JOIN monthly_usage_summary AS m ON m.user_id = t.user_id AND m.month = t.month
    WHERE (t.*) IS DISTINCT FROM (m.*)
"""
DIFFERING_KEYS = """
    SELECT k.id, k.usage_count, t.total, k.last_used_at, t.last_at
    FROM api_keys AS k
    JOIN (SELECT api_key_id, sum(total) AS total, max(last_at) AS last_at FROM expected_usage GROUP BY 1) AS t
        ON t.api_key_id = k.id
    WHERE k.usage_count <> t.total OR k.last_used_at <> t.last_at
"""


@pytest.mark.slow
def test_counting_is_exact_under_concurrent_writes(conninfo: str) -> None:
    concurrently = Concurrently(conninfo, seconds=float(os.environ.get("CONCURRENCY_SECONDS", "8")))
    concurrently.run()
    assert concurrently.unexpected == []
    assert rows(conninfo, "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()") == [(0,)]
    assert concurrently.commits > COMMITS_AWAITED
    assert concurrently.kills > KILLS_AWAITED
    assert rows(conninfo, DIFFERING_MONTHS) == []
    rows(conninfo, "SELECT roll_up_usage()")
    assert rows(conninfo, "SELECT count(*) FROM api_usage_deltas") == [(0,)]
    assert rows(conninfo, DIFFERING_MONTHS) == []
    assert rows(conninfo, DIFFERING_KEYS) == []
    rows(conninfo, "SELECT sync_subscription_usage()")
    assert rows(
        conninfo,
        "SELECT count(*) FROM subscriptions AS s LEFT JOIN monthly_usage_summary AS m ON m.user_id = s.user_id"
        " AND m.month = date_trunc('month', now() AT TIME ZONE 'UTC')::date"
        " WHERE s.usage_count <> coalesce(m.total_requests, 0)",
    ) == [(0,)]
    # Nothing of the months that are kept was lost either.
    rows(conninfo, "SELECT create_api_usage_partitions(3), cleanup_old_api_usage(90)")
    kept = "WHERE month >= (SELECT min(date_trunc('month', created_at AT TIME ZONE 'UTC')) FROM api_usage)"
    assert rows(conninfo, "SELECT count(*) FROM api_usage") == rows(
        conninfo, f"SELECT sum(total) FROM expected_usage {kept}"
    )


def a_key(conninfo: str, *, minute: int = 10_000, month: int = 10_000) -> str:
    """A key of a new user whose free plan has these limits."""
    with psycopg.connect(conninfo, autocommit=True) as connection:
        connection.execute(
            "UPDATE plans SET rate_limit_per_minute = %s, monthly_request_limit = %s WHERE tier = 'free'",
            [minute, month],
        )
        made = connection.execute(
            "WITH u AS (INSERT INTO users (email) VALUES (gen_random_uuid() || '@example.com') RETURNING id)"
            " INSERT INTO api_keys (user_id, key_prefix, key_hash) SELECT id, 'p', 'h' FROM u RETURNING id::text"
        ).fetchone()
    assert made
    return made[0]


def count_true(connection: psycopg.Connection, statement: str, *parameters: list[object]) -> int:
    """How many of the calls returned true."""
    results = [connection.execute(statement.encode(), given).fetchone() for given in parameters]
    return sum(bool(row and row[0]) for row in results)


CHECK = "SELECT allowed FROM check_rate_limit(%s)"
LEASE = "SELECT granted FROM lease_rate_limit(%s, %s)"
each_level = pytest.mark.parametrize("level", [IsolationLevel.READ_COMMITTED, IsolationLevel.SERIALIZABLE])


def granted(connection: psycopg.Connection, level: IsolationLevel, statement: str, *parameters: list[object]) -> int:
    """The sum of what the calls returned, each in a transaction of its own; none of them may fail to serialize."""
    connection.isolation_level = level
    results = [connection.execute(statement.encode(), given).fetchone() for given in parameters]
    return sum(int(row[0]) for row in results if row)


@pytest.mark.one_day
@each_level
def test_month_never_lets_more_or_less_through_than_the_limit(shared: str, level: IsolationLevel) -> None:
    key = a_key(shared, month=100)
    rows(shared, f"INSERT INTO api_keys (user_id, key_prefix, key_hash) SELECT user_id, 'q', 'h' FROM api_keys"
                   f" WHERE id = '{key}' RETURNING id")  # fmt: skip
    keys = rows(shared, f"SELECT id FROM api_keys WHERE user_id = (SELECT user_id FROM api_keys WHERE id = '{key}')")
    rows(shared, f"SELECT record_api_usage('{key}', '/', 'GET', 200, 1) FROM generate_series(1, 20)")
    assert sum(at_once(shared, 8, lambda c: granted(c, level, CHECK, *([k] for (k,) in keys * 10)))) == 80
    checks = [granted(psycopg.connect(shared, autocommit=True), each, CHECK, [key]) for each in IsolationLevel]
    assert checks == [0] * len(checks)


@each_level
@pytest.mark.parametrize(("statement", "permits"), [(CHECK, []), (LEASE, [4])])
def test_minute_never_lets_more_or_less_through_than_the_limit(
    shared: str, level: IsolationLevel, statement: str, permits: list[object]
) -> None:
    def allowed_within_one_minute() -> int | None:
        """None when the window ended meanwhile: then the next one is counted."""
        key = a_key(shared, minute=30)
        minute = "SELECT date_trunc('minute', clock_timestamp())"
        began = rows(shared, minute)
        allowed = sum(at_once(shared, 8, lambda c: granted(c, level, statement, *([key, *permits] for _ in range(10)))))
        return allowed if rows(shared, minute) == began else None

    assert wait_for(allowed_within_one_minute) == 30


@pytest.mark.one_day
def test_callers_at_both_levels_never_pass_the_limit_together(shared: str) -> None:
    """Who has an older snapshot than the other's count fails to serialize and tries again."""
    levels = iter([IsolationLevel.READ_COMMITTED, IsolationLevel.SERIALIZABLE] * 4)
    key = a_key(shared, month=60)

    def check(connection: psycopg.Connection) -> int:
        level, allowed = next(levels), 0
        while allowed < 20:
            try:
                if not granted(connection, level, CHECK, [key]):
                    break
            except psycopg.errors.SerializationFailure:
                continue
            allowed += 1
        return allowed

    assert sum(at_once(shared, 8, check)) == 60


def test_sync_leaves_out_a_subscription_that_somebody_holds(shared: str) -> None:
    held, free = a_key(shared), a_key(shared)
    for key in (held, free):
        rows(shared, f"SELECT record_api_usage('{key}', '/', 'GET', 200, 1)")
    counts = "SELECT s.usage_count FROM subscriptions AS s INNER JOIN api_keys AS k USING (user_id) WHERE k.id = '{}'"
    with psycopg.connect(shared) as holder:
        holder.execute(
            "SELECT FROM subscriptions WHERE user_id = (SELECT user_id FROM api_keys WHERE id = %s) FOR UPDATE", [held]
        )
        rows(shared, "SELECT sync_subscription_usage()")
        assert [rows(shared, counts.format(key)) for key in (held, free)] == [[(0,)], [(1,)]]
    rows(shared, "SELECT sync_subscription_usage()")
    assert rows(shared, counts.format(held)) == [(1,)]


def test_orphan_whom_somebody_holds_is_left_out(shared: str) -> None:
    held, free = ("cus_held", "cus_free")
    for customer in (held, free):
        rows(shared, f"INSERT INTO users (stripe_customer_id) VALUES ('{customer}') RETURNING id")
    mine = f"SELECT id FROM users WHERE stripe_customer_id IN ('{held}', '{free}')"
    rows(shared, f"UPDATE subscriptions SET status = 'canceled' WHERE user_id IN ({mine}) RETURNING id")
    fix = "SELECT stripe_customer_id FROM fix_orphaned_stripe_customers() ORDER BY 1"
    with psycopg.connect(shared) as holder:
        holder.execute("SELECT FROM users WHERE stripe_customer_id = %s FOR UPDATE", [held])
        assert rows(shared, fix) == [(free,)]
    assert rows(shared, fix) == [(held,)]


def test_event_never_seen_is_given_to_one_worker(shared: str) -> None:
    events = [f"evt_new_{number}" for number in range(30)]
    claim = "SELECT start_webhook_processing(%s)"
    claims = at_once(shared, 8, lambda c: [count_true(c, claim, [event]) for event in events])
    assert [sum(claim) for claim in zip(*claims, strict=True)] == [1] * 30


def test_request_id_recorded_by_many_counts_once(shared: str) -> None:
    key = a_key(shared)
    record = "SELECT record_api_usage(%s, '/', 'GET', 200, 1, request_id => %s)"
    assert sum(at_once(shared, 6, lambda c: count_true(c, record, *([key, f"r{n}"] for n in range(25))))) == 25
    recorded = f"SELECT count(*) FROM api_usage WHERE api_key_id = '{key}'"
    assert rows(shared, recorded) == [(25,)]


def test_many_at_once_share_the_work(conninfo: str) -> None:
    with psycopg.connect(conninfo, autocommit=True) as connection:
        bulk.customers(connection, 50)
        connection.execute("UPDATE subscriptions SET status = 'canceled'")
        connection.execute(
            "INSERT INTO stripe_webhook_events (stripe_event_id, status, attempts, received_at)"
            " SELECT 'evt_' || n, CASE WHEN n > 10 THEN 'failed' ELSE 'processed' END, 1, now() - interval '40 days'"
            " FROM generate_series(1, 30) n"
        )
        connection.execute("SELECT create_audit_log_partitions(3)")  # the template's month may have ended
    work = {
        "SELECT create_audit_log_partitions(8)": 5,
        "SELECT count(*) FROM fix_orphaned_stripe_customers()": 50,
        "SELECT count(*) FROM retry_failed_webhooks()": 20,
        "SELECT cleanup_webhook_events()": 10,
        "SELECT count(*) FROM run_daily_maintenance() WHERE status = 'failed'": 0,
    }
    for call, expected in work.items():
        results = at_once(conninfo, 4, lambda c, call=call: c.execute(call.encode()).fetchone()[0])  # type: ignore[misc]
        assert (call, sum(results)) == (call, expected)


@pytest.mark.parametrize(
    "work",
    [
        "SELECT analyze_partitioned_tables()",
        "SELECT count(*) FROM run_daily_maintenance()",
        "SELECT count(*) FROM run_weekly_maintenance()",
    ],
)
def test_maintenance_locks_no_partition_while_it_waits_for_who_makes_or_drops_some(shared: str, work: str) -> None:
    """Who does needs locks of its own then: the two would wait for each other."""
    with psycopg.connect(shared, autocommit=True) as connection:
        connection.execute(
            "INSERT INTO users (email, stripe_customer_id)"
            " SELECT x || '@orphan.example', 'cus_' || x FROM gen_random_uuid() AS x"
        )
        connection.execute("UPDATE subscriptions SET status = 'canceled' WHERE status <> 'canceled'")

    with psycopg.connect(shared) as maker, ThreadPoolExecutor(1) as pool:
        try:
            maker.execute("SELECT create_audit_log_partitions(0)")
            working = pool.submit(rows, shared, work)
            ((pid,),) = wait_for(lambda: waiting(shared, "locktype = 'advisory'"))
            held = rows(
                shared,
                "SELECT l.relation::regclass FROM (VALUES ('api_usage'::regclass), ('audit_log')) AS t (parent),"
                " pg_partition_tree(t.parent) AS p INNER JOIN pg_locks AS l ON l.relation = p.relid"
                f" WHERE l.pid = {pid}",
            )
        finally:
            maker.rollback()
    assert held == []
    assert working.exception() is None


def test_no_reader_is_stalled_by_partition_work_behind_a_long_reader(conninfo: str) -> None:
    old = "now() - interval '200 days'"
    with psycopg.connect(conninfo, autocommit=True) as connection:
        connection.execute(
            "INSERT INTO api_usage (user_id, endpoint, method, status_code, response_time_ms, created_at)"
            f" SELECT gen_random_uuid(), '/', 'GET', 200, 1, t FROM unnest(ARRAY[now(), {old}]) AS t"
        )
        connection.execute("SELECT create_api_usage_partitions()")
    reads: list[None] = []
    done = threading.Event()

    def read() -> None:
        with psycopg.connect(conninfo, autocommit=True) as connection:
            while not done.is_set():
                connection.execute("SELECT count(*) FROM api_usage")
                reads.append(None)

    with psycopg.connect(conninfo) as long_reader, ThreadPoolExecutor(3) as pool:
        try:
            long_reader.execute("SELECT count(*) FROM api_usage")
            reading = pool.submit(read)
            created = pool.submit(rows, conninfo, "SELECT create_api_usage_partitions(10)")
            dropped = pool.submit(rows, conninfo, "SELECT cleanup_old_api_usage()")
            wait_for(lambda: waiting(conninfo, "mode = 'AccessExclusiveLock' AND relation IS NOT NULL"))
            # A request that waited as long as the long reader is there would stall every read behind it.
            enough = len(reads) + 20
            wait_for(lambda: len(reads) > enough)
        finally:
            done.set()
            long_reader.rollback()
    assert created.result() != [(0,)]
    assert dropped.result() == [(1,)]
    assert reading.exception() is None


@pytest.mark.parametrize("table", ["api_usage", "audit_log"])
def test_no_writer_waits_for_tables_to_be_made_and_filled(conninfo: str, table: str) -> None:
    """What takes long is done before the locks are asked for, of which a request that waits gives up soon."""
    columns, values = {
        "api_usage": (
            "user_id, endpoint, method, status_code, response_time_ms, created_at",
            "gen_random_uuid(), '/', 'GET', 200, 1",
        ),
        "audit_log": ("action, table_name, occurred_at", "'note', 'users'"),
    }[table]
    months = "FROM generate_series(10, 29) AS n"
    writing = f"INSERT INTO {table} ({columns}) SELECT {values}, now() + n * interval '1 month' {months}"
    with psycopg.connect(conninfo, autocommit=True) as connection:
        connection.execute(f"SELECT create_{table}_partitions()".encode())
        connection.execute(writing.encode())
    before = rows(conninfo, f"SELECT partition FROM monthly_partitions('{table}')")
    with psycopg.connect(conninfo) as writer, ThreadPoolExecutor(1) as pool:
        try:
            writer.execute(writing.encode())
            making = pool.submit(rows, conninfo, f"SELECT create_{table}_partitions()")
            ((pid,),) = wait_for(lambda: waiting(conninfo, f"relation = '{table}'::regclass"))
            held = rows(
                conninfo,
                "SELECT l.relation::regclass::text, l.mode FROM pg_locks AS l"
                f" INNER JOIN pg_partition_tree('{table}') AS t ON t.relid = l.relation"
                f" WHERE l.pid = {pid} AND l.granted",
            )
            made = rows(
                conninfo,
                "SELECT count(*) FROM pg_locks AS l LEFT JOIN pg_class AS c ON c.oid = l.relation WHERE c.oid IS NULL"
                f" AND l.pid = {pid} AND l.mode = 'AccessExclusiveLock' AND l.locktype = 'relation'",
            )
        finally:
            writer.rollback()
    assert {mode for _, mode in held} <= {"AccessShareLock", "RowShareLock", "RowExclusiveLock"}
    assert made[0][0] >= 6
    making.result()
    assert len(rows(conninfo, f"SELECT partition FROM monthly_partitions('{table}')")) == len(before) + 6


def test_a_waiting_request_for_a_lock_gives_up_before_a_writer_has_waited_long(shared: str) -> None:
    """Two requests and the work under them are to stay below 100 ms."""
    assert rows(
        shared,
        "SELECT proname, setting FROM pg_proc, unnest(proconfig) AS setting"
        " WHERE setting LIKE 'lock_timeout=%' AND proname ~ 'partition' ORDER BY proname",
    ) == [("drop_partitions_before", "lock_timeout=10ms"), ("lock_for_partitions", "lock_timeout=40ms")]
