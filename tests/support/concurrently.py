"""Everybody at once: writers that overlap, roll back and are killed, folders, a partition creator, retention, edits."""

import random
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TypeVar

import psycopg
from django.db import connections
from psycopg import errors

from tests.support import bulk
from tests.support.waiting import PATIENCE_SECONDS

Result = TypeVar("Result")
USERS = 40
# What a run has to see before it says anything.
COMMITS_AWAITED, KILLS_AWAITED = 50, 10
CREATE_EXPECTED = """
CREATE TABLE expected_usage (
    user_id uuid, api_key_id uuid, month date, total bigint, failed bigint, total_ms bigint, max_ms int,
    last_at timestamptz
)
"""
# Written in the transaction of the requests, by statements of its own: whatever commits is in both or in neither.
RECORD_EXPECTED = """
INSERT INTO expected_usage
SELECT user_id, api_key_id, date_trunc('month', created_at AT TIME ZONE 'UTC')::date, count(*),
    count(*) FILTER (WHERE status_code >= 400), sum(ms), max(ms), max(created_at)
FROM unnest(%s::uuid[], %s::uuid[], %s::int[], %s::int[], %s::timestamptz[])
    AS r (user_id, api_key_id, status_code, ms, created_at)
GROUP BY 1, 2, 3
"""
COPY = "COPY {} (user_id, api_key_id, endpoint, method, status_code, response_time_ms, created_at) FROM STDIN"


@dataclass
class Concurrently:
    """The threads of one run and what went wrong in them."""

    conninfo: str
    seconds: float
    keys: list[tuple[object, object]] = field(default_factory=list)
    unexpected: list[str] = field(default_factory=list)
    commits: int = 0
    kills: int = 0

    def run(self) -> None:
        """Let all of them work for the time, on customers and keys that it makes."""
        with psycopg.connect(self.conninfo, autocommit=True) as connection:
            connection.execute(CREATE_EXPECTED.encode())
            bulk.customers(connection, USERS)
            bulk.of_each_customer(connection, "api_keys")
            self.keys = connection.execute("SELECT user_id, id FROM api_keys ORDER BY id").fetchall()
        self._until = time.monotonic() + self.seconds
        actions: list[Callable[[psycopg.Connection, random.Random], None]] = [self._write] * 8
        actions += [self._call("SELECT roll_up_usage()", 0.05)] * 2
        actions += [
            self._call("SELECT create_api_usage_partitions(3)", 0.3),
            self._call("SELECT cleanup_old_api_usage(90)", 0.4),
            self._call("SELECT sync_subscription_usage()", 0.5),
            self._edit_key,
            self._kill,
        ]
        threads = [
            threading.Thread(target=self._run, args=(action, random.Random(number)))
            for number, action in enumerate(actions)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def _run(self, action: Callable[[psycopg.Connection, random.Random], None], rng: random.Random) -> None:
        while self._continues():
            try:
                with psycopg.connect(self.conninfo, autocommit=True, application_name="concurrently") as connection:
                    while self._continues():
                        action(connection, rng)
            except (errors.AdminShutdown, errors.CrashShutdown):
                continue
            except psycopg.OperationalError as error:
                # A killed session is no error of ours; a deadlock, a lock timeout or anything else is.
                if error.sqlstate is not None:
                    self.unexpected.append(repr(error))
            except psycopg.Error as error:
                self.unexpected.append(repr(error))

    def _continues(self) -> bool:
        """For its time, and for longer where a busy machine has not let enough happen yet."""
        now = time.monotonic()
        happened = self.commits > COMMITS_AWAITED and self.kills > KILLS_AWAITED
        return now < self._until or (not happened and now < self._until + PATIENCE_SECONDS)

    def _write(self, connection: psycopg.Connection, rng: random.Random) -> None:
        rows = self._rows(rng)
        rolled_back = rng.random() < 0.1
        with connection.transaction(force_rollback=rolled_back):
            # Two statements a transaction, so that orders can cross between writers too.
            middle = len(rows) // 2
            for part in (rows[:middle], rows[middle:]):
                if part:
                    self._send(connection, part, directly=rng.random() < 0.2)
        self.commits += not rolled_back

    def _rows(self, rng: random.Random) -> list[tuple]:
        now = datetime.now(UTC)
        # This month, a late row, one to be dropped, one without a partition yet.
        ages = (0, 0, 0, 0, 35, 200, -130)
        chosen = rng.choices(self.keys, k=rng.choice((1, 1, 5, 50, 300, 1000)))
        chosen.sort(key=lambda pair: str(pair[0]), reverse=rng.random() < 0.5)
        return [
            (user, key, rng.choice((200, 404, 500)), rng.randint(0, 900), now - timedelta(days=rng.choice(ages)))
            for user, key in chosen
        ]

    @staticmethod
    def _send(connection: psycopg.Connection, rows: list[tuple], *, directly: bool) -> None:
        table = "api_usage"
        if directly:  # straight into this month's partition
            now = datetime.now(UTC)
            table, rows = f"api_usage_{now:%Y_%m}", [(*row[:4], now) for row in rows]
        with connection.cursor() as cursor, cursor.copy(COPY.format(table)) as copy:
            for user, key, status, ms, moment in rows:
                copy.write_row((user, key, "/v1/a", "GET", status, ms, moment))
        connection.execute(RECORD_EXPECTED, [list(column) for column in zip(*rows, strict=True)])

    def _call(self, statement: str, pause: float) -> Callable[[psycopg.Connection, random.Random], None]:
        def call(connection: psycopg.Connection, rng: random.Random) -> None:
            connection.execute(statement.encode())
            time.sleep(pause)

        return call

    def _edit_key(self, connection: psycopg.Connection, rng: random.Random) -> None:
        with connection.transaction():
            connection.execute("UPDATE api_keys SET name = 'edited' WHERE id = %s", [rng.choice(self.keys)[1]])
            time.sleep(0.05)

    def _kill(self, connection: psycopg.Connection, rng: random.Random) -> None:
        time.sleep(0.4)
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE application_name = 'concurrently' AND datname = current_database() AND pid <> pg_backend_pid()"
            " ORDER BY random() LIMIT 1"
        )
        self.kills += 1


def at_once(*actions: Callable[[], Result]) -> list[Result]:
    """What the actions return, which all begin together, each in a thread with Django connections of its own."""
    barrier = threading.Barrier(len(actions))

    def act(action: Callable[[], Result]) -> Result:
        barrier.wait()
        try:
            return action()
        finally:
            connections.close_all()

    with ThreadPoolExecutor(len(actions)) as pool:
        return list(pool.map(act, actions))
