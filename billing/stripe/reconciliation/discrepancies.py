"""The report of a reconciliation: open differences, each one row however often it is found."""

from __future__ import annotations

from collections.abc import Iterable

from django.db import connection
from django.db.models import Q
from django.db.models.functions import Now

from billing.models import Difference, ReconciliationRun
from billing.stripe.reconciliation.comparison import Finding
from glyphforge.text import storable_json

# Of a value or a note, in characters: a person reads it.
LONGEST = 2_000


def report(run: ReconciliationRun | None, findings: Iterable[Finding]) -> list[int]:
    """Write the findings as open differences of `run`, of none where an event brought them; returns their keys.

    One that is open already, for the same object and field, is brought up to date and moves to `run`.
    """
    keys = []
    rows = [
        (
            run.pk if run else None,
            finding.kind,
            finding.object_kind,
            finding.stripe_id,
            finding.customer_id,
            finding.user_id,
            finding.field,
            *map(_storable, (finding.local_value, finding.stripe_value, finding.note)),
        )
        for finding in findings
    ]
    with connection.cursor() as cursor:
        for row in rows:
            cursor.execute(
                """
                INSERT INTO reconciliation_differences AS known
                    (run_id, kind, object_kind, stripe_id, stripe_customer_id, user_id, field,
                        local_value, stripe_value, note)
                VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s)
                ON CONFLICT (object_kind, stripe_id, field) WHERE status = 'open'
                DO UPDATE SET run_id = coalesce(excluded.run_id, known.run_id), kind = excluded.kind,
                    user_id = excluded.user_id, local_value = excluded.local_value,
                    stripe_value = excluded.stripe_value,
                    note = coalesce(excluded.note, known.note)
                RETURNING id
                """,
                row,
            )
            keys.append(cursor.fetchone()[0])
    return keys


def _storable(text: str | None) -> str | None:
    """What PostgreSQL takes as text, and a person can read."""
    return text and str(storable_json(text))[:LONGEST]


def close(wanted: Q, status: str) -> int:
    """Close the open differences that `wanted` finds with `status`, repaired or gone; returns how many."""
    still_open = Difference.objects.filter(wanted, status=Difference.Status.OPEN)
    return still_open.update(status=status, closed_at=Now(), note=None)


def explain(wanted: Q, note: str) -> None:
    """Write into the open differences that `wanted` finds why they could not be repaired."""
    Difference.objects.filter(wanted, status=Difference.Status.OPEN).update(note=_storable(note))


def mark_seen(run: ReconciliationRun, stripe_ids: list[str]) -> None:
    """Remember that Stripe listed, or was asked for, these ids during `run`."""
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO reconciliation_seen (run_id, stripe_id) SELECT %s, unnest(%s::text[]) ON CONFLICT DO NOTHING",
            [run.pk, stripe_ids],
        )


def unseen(run: ReconciliationRun, limit: int) -> list[tuple[str, str]]:
    """What we have and Stripe did not list: pairs of kind and id, customers first, at most `limit`.

    Deleted customers and charges without an id are not expected at Stripe.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            """
            WITH ours (kind, stripe_id) AS (
                SELECT 'customer', stripe_customer_id FROM stripe_customers WHERE deleted_at IS NULL
                UNION ALL
                SELECT 'subscription', stripe_subscription_id FROM subscriptions
                WHERE stripe_subscription_id IS NOT NULL
                UNION ALL
                SELECT 'charge', stripe_charge_id FROM payment_history WHERE stripe_charge_id IS NOT NULL
                UNION
                SELECT 'invoice', stripe_invoice_id FROM payment_history WHERE stripe_invoice_id IS NOT NULL
                UNION
                SELECT 'invoice', stripe_invoice_id FROM open_invoices
            )
            SELECT ours.kind, ours.stripe_id FROM ours
            WHERE NOT EXISTS (
                SELECT FROM reconciliation_seen AS s WHERE s.run_id = %s AND s.stripe_id = ours.stripe_id
            )
            ORDER BY ours.kind IN ('charge', 'invoice'), ours.kind, ours.stripe_id
            LIMIT %s
            """,
            [run.pk, limit],
        )
        return [(kind, stripe_id) for kind, stripe_id in cursor.fetchall()]


def clear_seen(run: ReconciliationRun) -> None:
    """Drop what `mark_seen` remembered."""
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM reconciliation_seen WHERE run_id = %s", [run.pk])
