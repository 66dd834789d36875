"""A migrated database of a given size for the back office to work on."""

from collections.abc import Iterator

import psycopg

from benchmarks.views import fill
from benchmarks.views.fill import Size

DATABASE = "pages"
# Written by many people about many rows, in no order.
AUDIT = """
INSERT INTO audit_log (occurred_at, actor, action, table_name, row_id, old_values, new_values)
SELECT
    now() - random() * %(days)s * interval '1 day',
    'staff' || entry.n %% 40,
    'update',
    CASE WHEN entry.n %% 3 = 0 THEN 'users' ELSE 'subscriptions' END,
    p.user_id::text,
    '{"status": "active"}',
    '{"status": "past_due"}'
FROM generate_series(1, %(entries)s) AS entry (n) INNER JOIN people AS p ON p.n = entry.n %% %(users)s
"""


def build(connection: psycopg.Connection, size: Size, entries: int) -> Iterator[str]:
    """Fills the empty tables; yields what it does next."""
    connection.execute("SELECT create_audit_log_partitions()")
    yield from fill.rows(connection, size)
    yield "audit entries"
    connection.execute(AUDIT.encode(), {"entries": entries, "users": size.users, "days": size.days})
    yield "statistics"
    connection.execute("VACUUM ANALYZE")
