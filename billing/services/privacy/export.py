"""Everything about a person as a ZIP: a file a table, a row a line, and a page that says what they are.

Rows are read through the server's cursor and written as they come, so that memory does not grow with what somebody
used. Hashes, secrets and what looks like one are left out.
"""

from __future__ import annotations

import html
import json
import os
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from django.db import connection, transaction
from django.utils import timezone

from billing.models import StripeCustomer, User
from glyphforge.audit import acting_as, record
from glyphforge.audit.masking import mask_values
from glyphforge.errors import Refused

CHUNK = 1000
# Columns that prove an identity, and what is only of use to us.
HIDDEN = ("key_hash", "key_fast_hash", "content_hash", "idempotency_key", "transaction_id")


@dataclass(frozen=True)
class Part:
    """One file of the export: rows of a query, whose parameters are `user`, `customers` and `email`."""

    name: str
    about: str
    query: str


def _rows(table: str, where: str, order: str = "1") -> str:
    return f"SELECT to_jsonb(t) - %(hidden)s::text[] FROM {table} AS t WHERE {where} ORDER BY {order}"


_OF_USER = "t.user_id = %(user)s"
_OF_CUSTOMER = "t.customer_id = ANY (%(customers)s)"
PARTS = (
    Part("customer", "Who the person is here", _rows("users", "t.id = %(user)s")),
    Part("stripe_customers", "Their customers at Stripe", _rows("stripe_customers", _OF_USER)),
    Part("subscriptions", "What they subscribed to", _rows("subscriptions", _OF_USER, "t.created_at")),
    Part("payments", "What they paid, amounts in cents", _rows("payment_history", _OF_USER, "t.created_at")),
    Part(
        "payment_movements",
        "Settlements, refunds and disputes of their payments",
        _rows(
            "payment_movements",
            "t.payment_id IN (SELECT p.id FROM payment_history AS p WHERE p.user_id = %(user)s)",
            "t.occurred_at",
        ),
    ),
    Part("api_keys", "Their API keys, without what proves them", _rows("api_keys", _OF_USER, "t.created_at")),
    Part("usage", "Each request they made", _rows("api_usage", _OF_USER, "t.created_at, t.id")),
    Part(
        "usage_by_month", "Their requests by calendar month (UTC)", _rows("monthly_usage_summary", _OF_USER, "t.month")
    ),
    Part("notes", "What staff wrote down about them", _rows("customer_notes", _OF_USER, "t.created_at")),
    Part(
        "stripe_events",
        "What Stripe told about them",
        "SELECT to_jsonb(t) FROM events_of_customer(%(user)s) AS t ORDER BY t.received_at",
    ),
    Part("stripe_requests", "What Stripe was asked to change", _rows("stripe_requests", _OF_USER, "t.asked_at")),
    *(
        Part(
            f"stripe_{name}",
            f"Stripe's {name} as last fetched",
            f"SELECT t.stripe_data FROM djstripe_{table} AS t WHERE {where} ORDER BY t.id",
        )
        for name, table, where in (
            ("customer_objects", "customer", "t.id = ANY (%(customers)s)"),
            ("charges", "charge", _OF_CUSTOMER),
            ("invoices", "invoice", _OF_CUSTOMER),
            ("payment_methods", "paymentmethod", _OF_CUSTOMER),
            ("payment_intents", "paymentintent", _OF_CUSTOMER),
            ("checkout_sessions", "session", _OF_CUSTOMER),
            ("subscription_objects", "subscription", _OF_CUSTOMER),
            (
                "disputes",
                "dispute",
                "t.charge_id IN (SELECT c.id FROM djstripe_charge AS c WHERE c.customer_id = ANY (%(customers)s))",
            ),
        )
    ),
    Part(
        "changes",
        "What was changed of it, when, by whom and why (audit log)",
        """
        SELECT to_jsonb(t) FROM audit_log AS t
        WHERE (t.table_name = 'users' AND t.row_id = %(user)s::text)
            OR (t.table_name = 'stripe_customers' AND t.row_id = ANY (%(customers)s))
            OR (t.table_name, t.row_id) IN (
                SELECT 'subscriptions', s.id::text FROM subscriptions AS s WHERE s.user_id = %(user)s
                UNION ALL SELECT 'api_keys', k.id::text FROM api_keys AS k WHERE k.user_id = %(user)s
                UNION ALL SELECT 'payment_history', p.id::text FROM payment_history AS p WHERE p.user_id = %(user)s
            )
        ORDER BY t.id
        """,
    ),
    Part(
        "views",
        "Who of staff looked at their page, and when",
        _rows("read_log", "t.table_name = 'users' AND t.row_id = %(user)s::text", "t.id"),
    ),
)
# Tables with rows of a customer that have no part of their own come as they are, those that are to come too.
_OTHERS = """
    SELECT c.relname FROM pg_class AS c
    JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attname = 'user_id' AND a.atttypid = 'uuid'::regtype
    WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p') AND NOT c.relispartition
        AND has_table_privilege(c.oid, 'SELECT')
    ORDER BY c.relname
"""
_NOT_OTHERS = (
    *("stripe_customers", "subscriptions", "payment_history", "api_keys", "api_usage", "customer_notes"),
    *("stripe_requests", "api_usage_deltas", "api_usage_request_ids", "monthly_usage_totals"),
)


def write(user: User, file: IO[bytes], *, actor: str, reason: str) -> dict[str, int]:
    """Write the ZIP; returns the number of rows of each part. All parts are of one moment.

    That it was handed out is in the audit log. Refuses an empty reason.
    """
    if not reason.strip():
        raise Refused("A reason is needed.")
    with acting_as(actor=actor, reason=reason), transaction.atomic():
        record("export_customer", table_name="users", row_id=user.pk, reason=reason)
        with connection.cursor() as cursor:
            cursor.execute("SET LOCAL statement_timeout = 0")
        values = {
            "user": user.pk,
            "customers": list(StripeCustomer.objects.filter(user=user).values_list("pk", flat=True)),
            "hidden": list(HIDDEN),
        }
        counts: dict[str, int] = {}
        parts = [*PARTS, *_others()]
        with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED, allowZip64=True) as archive:
            for part in parts:
                with archive.open(f"{part.name}.ndjson", "w", force_zip64=True) as member:
                    counts[part.name] = _write_rows(member, part.query, values)
            archive.writestr("index.html", _index(user, parts, counts))
    return counts


def to_file(user: User, path: Path, *, actor: str, reason: str) -> dict[str, int]:
    """As `write`, into a new file that only its owner may read. Refuses to overwrite one; leaves no partial one."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except OSError as error:
        raise Refused(f"{path}: {error.strerror}") from error
    try:
        with os.fdopen(descriptor, "w+b") as file:
            return write(user, file, actor=actor, reason=reason)
    except BaseException:
        path.unlink(missing_ok=True)
        raise


def _others() -> list[Part]:
    with connection.cursor() as cursor:
        cursor.execute(_OTHERS)
        tables = [name for (name,) in cursor.fetchall() if name not in _NOT_OTHERS]
    return [Part(table, f"Rows of {table}", _rows(table, _OF_USER)) for table in tables]


def _write_rows(member: IO[bytes], query: str, values: dict[str, Any]) -> int:
    count = 0
    for row in _streamed(query, values):
        member.write(json.dumps(mask_values(row), ensure_ascii=False).encode() + b"\n")
        count += 1
    return count


def _streamed(query: str, values: dict[str, Any]) -> Iterator[Any]:
    with connection.chunked_cursor() as cursor:
        # Not by a function at first: it would count as a statement that writes, which no cursor can be declared for.
        cursor.execute(f"SELECT r.data FROM ({query}) AS r (data)", values)
        while rows := cursor.fetchmany(CHUNK):
            for (row,) in rows:
                yield json.loads(row) if isinstance(row, str) else row


def _index(user: User, parts: list[Part], counts: dict[str, int]) -> str:
    rows = "\n".join(
        f'<tr><td><a href="{part.name}.ndjson">{part.name}.ndjson</a></td><td>{html.escape(part.about)}</td>'
        f"<td>{counts[part.name]:,}</td></tr>"
        for part in parts
    )
    return f"""<!doctype html>
<html lang="en"><meta charset="utf-8"><title>Data about {html.escape(str(user))}</title>
<h1>Data about {html.escape(str(user))}</h1>
<p>Everything that the back office holds about this person, on {timezone.now():%Y-%m-%d %H:%M} UTC. Each file has one
JSON object a line. Amounts are in cents, times in UTC. What proves an identity, such as a key's hash, is left out.</p>
<table><tr><th>File</th><th>What it holds</th><th>Rows</th></tr>
{rows}
</table></html>
"""
