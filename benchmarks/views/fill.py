"""A database of a given size, filled the way traffic would fill it but in no order: the worst case for reading it."""

from collections.abc import Iterator
from dataclasses import dataclass

import psycopg

from glyphforge.database import desired
from glyphforge.embedded import Server

DATABASE = "views"
BATCH = 100_000
# What the queue's package creates in the product.
QUEUE = "CREATE TABLE IF NOT EXISTS django_q_ormq (id serial PRIMARY KEY, key text, payload text, lock timestamptz)"

USERS = """
INSERT INTO users (email, stripe_customer_id, created_at)
SELECT n || '@example.com', 'cus_' || n, now() - random() * interval '900 days'
FROM generate_series(1, %(users)s) AS n
"""
# One in five pays; a few of them are stale, cancelled or past due.
SUBSCRIPTIONS = """
WITH chosen AS (SELECT id, row_number() OVER (ORDER BY id) AS n FROM users),
ended AS (
    UPDATE subscriptions AS s SET status = 'canceled'
    FROM chosen AS c WHERE s.user_id = c.id AND c.n %% 5 = 0
    RETURNING s.user_id
)
INSERT INTO subscriptions (user_id, tier, status, stripe_subscription_id, price_cents, current_period_end)
SELECT
    c.id,
    CASE WHEN c.n %% 50 = 0 THEN 'enterprise' WHEN c.n %% 15 = 0 THEN 'professional' ELSE 'starter' END,
    CASE WHEN c.n %% 40 = 0 THEN 'past_due' WHEN c.n %% 35 = 0 THEN 'trialing' ELSE 'active' END,
    'sub_' || c.n,
    2900 + (c.n %% 3) * 3500,
    now() + interval '20 days' - (CASE WHEN c.n %% 2000 = 0 THEN 30 ELSE 0 END) * interval '1 day'
FROM chosen AS c
WHERE c.id IN (SELECT user_id FROM ended)
"""
KEYS = """
INSERT INTO api_keys (user_id, key_prefix, key_hash, environment)
SELECT u.id, 'glyph_sk_live_' || left(u.id::text, 6), 'x', 'production'
FROM users AS u WHERE u.email NOT LIKE '%%77@example.com'
"""
PAYMENTS = """
INSERT INTO payment_history (user_id, amount_cents, status, paid_at)
SELECT
    s.user_id,
    s.price_cents,
    CASE WHEN random() < 0.03 THEN 'failed' ELSE 'succeeded' END,
    now() - m * interval '30 days'
FROM subscriptions AS s CROSS JOIN generate_series(0, 11) AS m WHERE s.tier <> 'free'
"""
EVENTS = """
INSERT INTO stripe_webhook_events (stripe_event_id, event_type, status, attempts, payload, received_at, processed_at)
SELECT
    'evt_' || n,
    'invoice.paid',
    CASE WHEN n %% 2000 = 0 THEN 'failed' WHEN n %% 9999 = 0 THEN 'dead' ELSE 'processed' END,
    1 + n %% 4,
    jsonb_build_object('data', jsonb_build_object('object', jsonb_build_object('customer', 'cus_' || n, 'x', filler))),
    now() - random() * interval '30 days',
    now()
FROM generate_series(1, %(events)s) AS n CROSS JOIN repeat('x', 600) AS filler
"""
# Few users make most requests, one request in fifty fails, and times spread over three orders of magnitude.
REQUESTS = """
INSERT INTO api_usage (user_id, api_key_id, endpoint, method, status_code, response_time_ms, created_at)
SELECT
    p.user_id,
    p.key_id,
    '/v1/endpoint/' || (random() * 39)::int,
    CASE WHEN random() < 0.7 THEN 'GET' ELSE 'POST' END,
    CASE WHEN random() < 0.02 THEN 500 ELSE 200 END,
    (5 * exp(random() * 6))::int,
    now() - random() * %(days)s * interval '1 day'
FROM (SELECT (power(random(), 2) * (%(users)s - 1))::int AS pick FROM generate_series(1, %(batch)s)) AS r
INNER JOIN people AS p ON p.n = r.pick
"""


@dataclass(frozen=True)
class Size:
    """How many rows of what matters; requests are spread over as many days."""

    users: int
    requests: int
    events: int
    days: int = 60


def build(server: Server, size: Size) -> Iterator[str]:
    """Makes the database anew; yields what it does next."""
    with psycopg.connect(server.url("postgres"), autocommit=True) as connection:
        connection.execute(f"DROP DATABASE IF EXISTS {DATABASE} WITH (FORCE)".encode())
        connection.execute(f"CREATE DATABASE {DATABASE}".encode())
    with psycopg.connect(server.url(DATABASE), autocommit=True) as connection:
        yield "the schema"
        _install(connection)
        yield from rows(connection, size)
        yield "statistics"
        connection.execute("VACUUM ANALYZE")


def rows(connection: psycopg.Connection, size: Size) -> Iterator[str]:
    """Fills the empty tables; yields what it does next."""
    for what, statement in (
        ("users", USERS),
        ("subscriptions", SUBSCRIPTIONS),
        ("keys", KEYS),
        ("payments", PAYMENTS),
        ("events", EVENTS),
    ):
        yield what
        connection.execute(statement.encode(), {"users": size.users, "events": size.events})
    yield from _requests(connection, size)


def _install(connection: psycopg.Connection) -> None:
    connection.execute("SET check_function_bodies = off")
    connection.execute("CREATE EXTENSION pg_trgm")  # for the search of the back office
    connection.execute(QUEUE.encode())

    def attempt(statement: str) -> bool:
        try:
            connection.execute(statement.encode())
        except desired.NOT_YET:
            return False
        return True

    if left := desired.settle([*desired.statements(["billing", "monitoring"])], attempt):
        raise SystemExit(f"The SQL files do not settle: {', '.join(file.name for file in left)}")
    connection.execute("SELECT create_api_usage_partitions()")


def _requests(connection: psycopg.Connection, size: Size) -> Iterator[str]:
    connection.execute(
        "CREATE TEMPORARY TABLE people AS SELECT (row_number() OVER () - 1)::int AS n, u.id AS user_id, k.id AS key_id"
        " FROM users AS u LEFT JOIN api_keys AS k ON k.user_id = u.id"
    )
    connection.execute("CREATE INDEX ON people (n)")
    connection.execute("ANALYZE people")
    # A month of the past has no partition yet; the rows would all wait in the default one.
    connection.execute(
        "SELECT create_monthly_partition('api_usage', (date_trunc('month', now()) - m * interval '1 month')::date)"
        " FROM generate_series(1, %s) AS m",
        [size.days // 28 + 1],
    )
    for done in range(0, size.requests, BATCH):
        yield f"requests, {done:,} of {size.requests:,}"
        batch = min(BATCH, size.requests - done)
        connection.execute(REQUESTS.encode(), {"users": size.users, "days": size.days, "batch": batch})
        connection.execute("SELECT roll_up_usage()")
        connection.execute("SELECT fold_traffic()")
    yield "a minute's requests that are not folded yet"
    connection.execute(REQUESTS.encode(), {"users": size.users, "days": 0.001, "batch": min(2000, size.requests)})
