"""Several sessions on one database whose work commits: what each writes, and how they begin together."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psycopg
from psycopg import IsolationLevel

CHECK = "SELECT allowed FROM check_rate_limit(%s)"
LEASE = "SELECT granted FROM lease_rate_limit(%s, %s)"


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


def granted(connection: psycopg.Connection, level: IsolationLevel, statement: str, *parameters: list[object]) -> int:
    """The sum of what the calls returned, each in a transaction of its own; none of them may fail to serialize."""
    connection.isolation_level = level
    results = [connection.execute(statement.encode(), given).fetchone() for given in parameters]
    return sum(int(row[0]) for row in results if row)
