"""Writes synthetic data by COPY, with all triggers on."""

import random
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from itertools import chain, islice
from typing import Any

from django.db import connection, transaction
from psycopg import sql

from billing.keys.format import BEGINS, WORDS
from billing.models import User
from demo.seed import ACTION, customers, dunning, payments, subscriptions, webhook_troubles
from demo.seed.customers import Customer, Key, Trouble
from demo.seed.identities import WORD, unusable_hash
from demo.seed.usage import COLUMNS, Request, Traffic, months
from glyphforge import audit
from glyphforge.audit.models import AuditEntry
from glyphforge.observability.terminal import Advance, progress

BATCH = 20_000
# The invoices that no charge has paid, of the subscriptions in arrears. Why the last try failed comes with its charge.
OWED = """
    INSERT INTO open_invoices (
        stripe_invoice_id, user_id, subscription_id, number, status, amount_due_cents, currency, attempt_count,
        next_attempt_at, overdue_since, hosted_invoice_url, created_at
    )
    SELECT
        p.stripe_invoice_id, p.user_id, s.id,
        upper(right(s.stripe_customer_id, 8) || '-' || right(p.stripe_invoice_id, 4)),
        'open', p.amount_cents, p.currency, p.attempt_count, p.next_attempt_at, p.created_at, p.invoice_url,
        p.created_at
    FROM payment_history AS p
    JOIN subscriptions AS s ON s.user_id = p.user_id AND s.status IN ('past_due', 'unpaid')
    WHERE
        p.id = ANY (%s::uuid[])
        AND NOT EXISTS (
            SELECT FROM payment_history AS paid
            WHERE paid.stripe_invoice_id = p.stripe_invoice_id AND paid.status <> 'failed'
        )
"""
# What the jobs would do during the next hours. The synthetic past must not look like changes of today.
AFTERWARDS = (
    "SELECT roll_up_usage()",
    "SELECT sync_subscription_usage()",
    "SELECT fold_traffic(1000000000)",
    "SELECT rebuild_mrr_history(true)",
    "SELECT take_daily_snapshot()",
    "ANALYZE users, subscriptions, api_keys, payment_history, payment_movements, api_usage, monthly_usage_totals",
)


def is_seeded() -> bool:
    """Whether synthetic data was written into this database before."""
    return AuditEntry.objects.filter(action=ACTION).exists()


def seed(*, users: int, usage: int, seed: int = 1) -> None:
    """Write `users` customers with all that belongs to them and exactly `usage` requests, all or nothing.

    The same `seed` on an empty database gives the same people; times are relative to now.
    """
    now = datetime.now(UTC)
    first_number = User.objects.count() + 1
    rng = random.Random(f"{seed}:{first_number}")
    _create_partitions(now)
    with (
        progress("Seeding customers and usage", users + usage) as advance,
        audit.acting_as(actor=ACTION, reason="demo data"),
        transaction.atomic(),
    ):
        # First, as it tells the triggers who acts: COPY itself carries no context.
        audit.record(ACTION, table_name="users", new_values={"users": users, "usage": usage, "seed": seed})
        synthetic = customers.generate(rng, users, first_number=first_number, now=now)
        _write_customers(rng, synthetic, now)
        advance(users)
        _write_usage(Traffic(rng, synthetic, usage, now).requests(), advance)
    with progress("Counting and closing the days", len(AFTERWARDS)) as advance, connection.cursor() as cursor:
        for statement in AFTERWARDS:
            cursor.execute(statement)
            advance(1)


def _write_customers(rng: random.Random, synthetic: list[Customer], now: datetime) -> None:
    _copy("users", (_user_row(customer) for customer in synthetic))
    _date_free_subscriptions(synthetic)
    paid = subscriptions.generate(rng, synthetic, now)
    _copy("subscriptions", subscriptions.rows(paid))
    _copy("api_keys", (_key_row(rng, customer, key) for customer in synthetic for key in customer.keys))
    charges = list(payments.generate(rng, paid, now))
    _copy("payment_history", (charge.row for charge in charges))
    _copy("payment_movements", (movement for charge in charges for movement in charge.movements))
    _settle(charges)
    with connection.cursor() as cursor:
        cursor.execute(OWED, [[charge.row["id"] for charge in charges]])
    dunning.write(rng, now)
    _copy("stripe_webhook_events", webhook_troubles.rows(rng, synthetic, now))


def _write_usage(requests: Iterator[Request], advance: Advance) -> None:
    """Several COPYs, so that one statement's rows stay small enough for the memory of the counting trigger."""
    while batch := list(islice(requests, BATCH)):
        _copy_rows("api_usage", COLUMNS, batch)
        advance(len(batch))


def _create_partitions(now: datetime) -> None:
    """Months that usage falls into; a transaction of its own, as it locks the default partition for a moment."""
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(hashtextextended('api_usage partitions', 0))")
        cursor.execute(
            "SELECT * FROM make_monthly_partitions('api_usage', %s)", [[month.date() for month in months(now)]]
        )


def _date_free_subscriptions(synthetic: list[Customer]) -> None:
    """Date the free subscriptions that the database gave the new users, and end those of paying and orphaned ones."""
    ended = {
        customer.id: customer.paid_since or customer.created_at
        for customer in synthetic
        if customer.paid_since or customer.trouble is Trouble.ORPHANED
    }
    with connection.cursor() as cursor:
        cursor.execute(
            """
            UPDATE subscriptions AS s
            SET
                created_at = u.created_at,
                status = CASE WHEN e.at IS NULL THEN s.status ELSE 'canceled' END,
                canceled_at = e.at
            FROM users AS u
            LEFT JOIN unnest(%s::uuid[], %s::timestamptz[]) AS e (user_id, at) ON e.user_id = u.id
            WHERE s.user_id = u.id AND u.id = ANY (%s::uuid[])
            """,
            [list(ended), list(ended.values()), [customer.id for customer in synthetic]],
        )


def _settle(charges: list[payments.Charge]) -> None:
    """Give those that were paid the status that their movements say."""
    with connection.cursor() as cursor:
        cursor.execute(
            """
            UPDATE payment_history SET status = CASE
                WHEN disputed_cents > 0 THEN 'disputed'
                WHEN refunded_cents = amount_cents THEN 'refunded'
                WHEN refunded_cents > 0 THEN 'partially_refunded'
                ELSE 'succeeded'
            END
            WHERE id = ANY (%s::uuid[])
            """,
            [[charge.row["id"] for charge in charges if charge.movements]],
        )


def _copy(table: str, rows: Iterable[dict[str, Any]]) -> None:
    """COPY dictionaries of the same keys into the table; other columns get the database's defaults."""
    rows = iter(rows)
    first = next(rows, None)
    if first is not None:
        _copy_rows(table, tuple(first), (tuple(row.values()) for row in chain([first], rows)))


def _copy_rows(table: str, columns: tuple[str, ...], rows: Iterable[tuple[Any, ...]]) -> None:
    names = sql.SQL(", ").join(map(sql.Identifier, columns))
    statement = sql.SQL("COPY {} ({}) FROM STDIN").format(sql.Identifier(table), names)
    with connection.cursor() as cursor, cursor.copy(statement) as copy:
        for row in rows:
            copy.write_row(row)


def _user_row(customer: Customer) -> dict[str, Any]:
    return {
        "id": customer.id,
        "cognito_user_id": customer.cognito_user_id,
        "stripe_customer_id": customer.stripe_customer_id,
        "email": customer.email,
        "name": customer.name,
        "status": customer.status,
        "created_at": customer.created_at,
    }


def _key_row(rng: random.Random, customer: Customer, key: Key) -> dict[str, Any]:
    shown = "".join(rng.choices(WORD, k=8))
    return {
        "id": key.id,
        "user_id": customer.id,
        "name": rng.choice(("Website", "Backend", "CI", "Staging", "Laptop", "Batch jobs", "Integration")),
        "environment": key.environment,
        "key_prefix": f"{BEGINS}{WORDS[key.environment]}_{shown}",
        "key_hash": unusable_hash(rng),
        "revoked_at": key.revoked_at,
        "revoked_reason": rng.choice(("rotated", "left the company", "leaked")) if key.revoked_at else None,
        "created_at": key.created_at,
    }
