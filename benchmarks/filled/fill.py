"""Fills a migrated database to a size, and later brings its traffic up to date."""

from collections.abc import Iterator

import psycopg

from benchmarks.filled.size import Size
from demo.seed.identities import NAMES
from tests.support import bulk

SLICE_DAYS = 2  # of traffic, written and folded at once
# Of a busy minute, not folded yet: what the views read from api_usage itself.
UNFOLDED, UNFOLDED_DAYS = 2_000, 0.001
# What the filled rows mean for the audit log and the ledger of revenue is written apart, with the dates it would have.
SILENCED = {
    "users": ("audit",),
    "subscriptions": ("audit", "book_mrr_when_added", "book_mrr_when_changed"),
    "api_keys": ("audit",),
}


def fill(connection: psycopg.Connection, size: Size) -> Iterator[str]:
    """Writes everything; yields what it does next."""
    yield "users"
    _partitions(connection, size)
    _switch_triggers(connection, "DISABLE")
    values = {"users": size.users, "events": size.events, "audit_rows": size.audit_rows, **NAMES}
    connection.execute(bulk.USERS.encode(), values)
    yield "subscriptions"
    for statement in (bulk.FREE, bulk.PAYERS, bulk.LEFT_FREE, bulk.SUBSCRIPTIONS, bulk.ORPHANS):
        connection.execute(statement.encode())
    yield "keys"
    connection.execute(bulk.KEYS.encode())
    _switch_triggers(connection, "ENABLE")
    yield "payments"
    connection.execute(bulk.PAYMENTS.encode())
    yield "events"
    connection.execute(bulk.EVENTS.encode(), values)
    yield "the audit log"
    connection.execute("ANALYZE users, subscriptions, api_keys")
    connection.execute(bulk.AUDIT_ROWS.encode(), values)
    connection.execute(bulk.JOB_RUNS.encode())
    indexes = _drop_indexes_of_requests(connection)
    for oldest in range(size.days, 0, -SLICE_DAYS):
        yield f"requests of {oldest} days ago"
        newest = max(oldest - SLICE_DAYS, 0)
        _requests(connection, size.requests * (oldest - newest) // size.days, oldest=oldest, newest=newest)
        _fold(connection)
    yield "the indexes of requests"
    for definition in indexes:
        connection.execute(definition.encode())
    yield "the history of revenue"
    connection.execute("SELECT sync_subscription_usage()")
    connection.execute("SELECT rebuild_mrr_history(true)")
    yield "statistics"
    connection.execute("VACUUM ANALYZE")
    connection.execute(bulk.ALERTS.encode())
    connection.execute("ANALYZE alerts")
    _requests(connection, UNFOLDED, oldest=UNFOLDED_DAYS)


def catch_up(connection: psycopg.Connection, size: Size) -> Iterator[str]:
    """Writes the traffic since the last request, so that an hour or a day later the last hour and day are as busy."""
    yield "the traffic since"
    ((days,),) = connection.execute(
        "SELECT extract(EPOCH FROM now() - max(created_at))::float / 86400 FROM api_usage"
        " WHERE id = (SELECT max(id) FROM api_usage)"
    ).fetchall()
    if days * 24 * 60 < 10:
        return
    _partitions(connection, size)
    _requests(connection, int(days * size.requests / size.days), oldest=days)
    _fold(connection)
    connection.execute("SELECT take_daily_snapshot()")
    connection.execute("VACUUM ANALYZE")
    _requests(connection, UNFOLDED, oldest=UNFOLDED_DAYS)


def _partitions(connection: psycopg.Connection, size: Size) -> None:
    """A month of the past has no partition yet; its rows would all wait in the default one."""
    connection.execute("SELECT create_api_usage_partitions(), create_audit_log_partitions()")
    connection.execute(
        "SELECT create_monthly_partition('api_usage', (date_trunc('month', now()) - m * interval '1 month')::date)"
        " FROM generate_series(1, %s) AS m",
        [size.days // 28 + 1],
    )
    connection.execute(
        "SELECT create_monthly_partition('audit_log', (date_trunc('month', now()) - m * interval '1 month')::date)"
        " FROM generate_series(1, 12) AS m"
    )


def _switch_triggers(connection: psycopg.Connection, how: str) -> None:
    for table, triggers in SILENCED.items():
        for trigger in triggers:
            connection.execute(f"ALTER TABLE {table} {how} TRIGGER {trigger}".encode())


def _drop_indexes_of_requests(connection: psycopg.Connection) -> list[str]:
    """Drops all but the primary key and returns what makes them anew: at once that takes a fraction of the time."""
    found = connection.execute(
        "SELECT indexrelid::regclass::text, replace(pg_get_indexdef(indexrelid), ' ON ONLY ', ' ON ')"
        " FROM pg_index WHERE indrelid = 'api_usage'::regclass AND NOT indisprimary"
    ).fetchall()
    for name, _ in found:
        connection.execute(f"DROP INDEX {name}".encode())
    return [definition for _, definition in found]


def _requests(connection: psycopg.Connection, count: int, *, oldest: float, newest: float = 0) -> None:
    """Writes requests whose ages lie between two numbers of days."""
    if connection.execute("SELECT to_regclass('people') IS NULL").fetchone() == (True,):
        connection.execute(bulk.PEOPLE.encode())
        connection.execute("CREATE INDEX ON people (n)")
        connection.execute("ANALYZE people")
    connection.execute(bulk.REQUESTS.encode(), {"oldest": oldest, "newest": newest, "batch": count})


def _fold(connection: psycopg.Connection) -> None:
    connection.execute("SELECT roll_up_usage()")
    while connection.execute("SELECT fold_traffic()").fetchone() != (0,):
        pass
