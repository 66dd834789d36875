"""What holds when many do it at once. Everything here commits, in a database of its own."""

import os
import threading
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest

from tests.support import bulk
from tests.support.concurrently import COMMITS_AWAITED, KILLS_AWAITED, Concurrently
from tests.support.waiting import wait_for
from tests.support.writers import a_key, at_once, rows

pytestmark = pytest.mark.django_db


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
    FULL JOIN (
        SELECT
            user_id, month, total_requests, successful_requests, failed_requests, total_response_time_ms,
            max_response_time_ms, last_request_at
        FROM monthly_usage_summary
    ) AS m ON m.user_id = t.user_id AND m.month = t.month
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


def count_true(connection: psycopg.Connection, statement: str, *parameters: list[object]) -> int:
    """How many of the calls returned true."""
    results = [connection.execute(statement.encode(), given).fetchone() for given in parameters]
    return sum(bool(row and row[0]) for row in results)


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
