"""Who does what and why: what the audit triggers write beside each change.

The database's audit reads the settings `app.actor`, `app.actor_kind`, `app.reason` and `app.request_id`. Inside
`acting_as()` every writing statement carries them along, local to its transaction: nothing is left on a connection that
PgBouncer or Django hands to somebody else next, and it needs no round trip of its own.
"""

import json
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace
from typing import Any

from django.core.serializers.json import DjangoJSONEncoder
from django.db import DEFAULT_DB_ALIAS, connections, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from psycopg import sql
from psycopg.pq import TransactionStatus

from glyphforge.audit.masking import MASK, SECRET_NAME
from glyphforge.text import cut

# Reads go without; a SELECT that calls a function by name may write.
_WRITES = re.compile(r"\s*(INSERT|UPDATE|DELETE|MERGE|WITH|CALL|DO|SELECT\s+(\*\s+FROM\s+)?\w+\s*\()", re.IGNORECASE)


@dataclass(frozen=True)
class Context:
    """The origin of a change. None leaves it to the database: without an actor the connection's role stands.

    `kind` says whose name the actor's is: `staff`, `api`, or `system` for a program of ours, which None means too.
    """

    actor: str | None = None
    kind: str | None = None
    reason: str | None = None
    request_id: str | None = None


# In characters: the audit must not fail for what somebody wrote.
LONGEST = {"app.actor": 200, "app.actor_kind": 6, "app.reason": 2000, "app.request_id": 200}
_NO_CONTEXT = Context()
_current: ContextVar[Context] = ContextVar("audit_context", default=_NO_CONTEXT)


def current() -> Context:
    """The origin that changes made now are attributed to."""
    return _current.get()


@contextmanager
def acting_as(
    *, actor: str | None = None, kind: str | None = None, reason: str | None = None, request_id: str | None = None
) -> Iterator[Context]:
    """Attribute every change made inside to the actor, of this kind, with reason and request id.

    What is left out is inherited from the surrounding `acting_as()`. Works in and out of transactions, on every
    connection of this thread or task.
    """
    given = {"actor": actor, "kind": kind, "reason": reason, "request_id": request_id}
    context = replace(_current.get(), **{name: value for name, value in given.items() if value is not None})
    token = _current.set(context)
    try:
        yield context
    finally:
        _current.reset(token)


def record(
    action: str,
    *,
    table_name: str,
    row_id: object = None,
    reason: str | None = None,
    old_values: Mapping[str, Any] | None = None,
    new_values: Mapping[str, Any] | None = None,
    using: str = DEFAULT_DB_ALIAS,
) -> int:
    """Write one row for a named operation into the audit log; returns its id.

    Actor and request id are those of `acting_as()`; so is the reason unless given. `old_values` and `new_values` map
    columns to what JSON can hold, dates, decimals and UUIDs included; values under names that look like secrets are
    masked, at the first level. Belongs into the transaction of what it records.
    """
    with acting_as(reason=reason), connections[using].cursor() as cursor:
        cursor.execute(
            "SELECT record_audit(%s, %s, %s, %s::jsonb, %s::jsonb)",
            [action, table_name, None if row_id is None else str(row_id), _masked(old_values), _masked(new_values)],
        )
        return int(cursor.fetchone()[0])


def record_read(*, table_name: str, row_id: object, using: str = DEFAULT_DB_ALIAS) -> None:
    """Write down that the actor of `acting_as()` looked at a row."""
    with connections[using].cursor() as cursor:
        cursor.execute("SELECT record_read(%s, %s)", [table_name, str(row_id)])


def _masked(values: Mapping[str, Any] | None) -> str | None:
    if values is None:
        return None
    shown = {name: MASK if SECRET_NAME.search(name) else value for name, value in values.items()}
    return json.dumps(shown, cls=DjangoJSONEncoder)


def install(connection: BaseDatabaseWrapper, **kwargs: Any) -> None:
    """Make a new connection's statements carry the audit context; a receiver of `connection_created`.

    COPY goes past it: what a transaction only copies is put down to the connection's role. The settings last until the
    transaction ends (https://www.postgresql.org/docs/current/functions-admin.html#FUNCTIONS-ADMIN-SET). Wrapping
    statements is Django's offer: https://docs.djangoproject.com/en/5.2/topics/db/instrumentation/
    """
    if connection.vendor == "postgresql" and _prepend_settings not in connection.execute_wrappers:
        connection.execute_wrappers.append(_prepend_settings)


def _prepend_settings(execute: Callable[..., Any], query: Any, params: Any, many: bool, context: dict[str, Any]) -> Any:
    """Put the settings in front of a writing statement: in the same message, and so in the same transaction."""
    connection: Any = context["connection"]
    in_transaction = connection.in_atomic_block or not connection.autocommit
    if connection.connection.info.transaction_status == TransactionStatus.IDLE:
        # The first statement of a transaction: the last one's settings are gone.
        connection.carries_audit_context = False
    # A transaction that has seen an actor must forget it once that actor's block has ended.
    stale = in_transaction and getattr(connection, "carries_audit_context", False)
    acting = _current.get()
    if acting == _NO_CONTEXT and not stale:
        return execute(query, params, many, context)
    text = query if isinstance(query, str) else query.as_string(connection.connection)
    if not _WRITES.match(text):
        return execute(query, params, many, context)

    connection.carries_audit_context = in_transaction
    if many:
        with transaction.atomic(using=connection.alias, savepoint=False):
            context["cursor"].cursor.execute(_settings(acting))
            return execute(query, params, many, context)
    settings = _settings(acting)
    if params is not None:
        settings = settings.replace("%", "%%")
    result = execute(f"{settings}; {text}", params, many, context)
    context["cursor"].nextset()  # the caller's rows and row count are those of the second statement
    return result


def _settings(acting: Context) -> str:
    values = {
        "app.actor": acting.actor,
        "app.actor_kind": acting.kind or "system",
        "app.reason": acting.reason,
        "app.request_id": acting.request_id,
    }
    calls = [
        f"set_config('{name}', {sql.quote(cut(value or '', LONGEST[name]))}, true)" for name, value in values.items()
    ]
    return f"SELECT {', '.join(calls)}"
