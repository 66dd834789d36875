"""Writing rows only where they differ, so that a repeated event leaves no trace in the audit log."""

from datetime import UTC, datetime
from typing import Any

from django.db.models import Model

# What is to be written into a row, by the name of its column.
Columns = dict[str, Any]


def moment(timestamp: int | None) -> datetime | None:
    """Stripe's Unix seconds as an aware datetime."""
    return None if timestamp is None else datetime.fromtimestamp(timestamp, UTC)


def write(row: Model, values: Columns) -> bool:
    """Set `values` on `row` and save what changed; a row without a table row is inserted. True when written."""
    changed = [name for name, value in values.items() if getattr(row, name) != value]
    for name in changed:
        setattr(row, name, values[name])
    if row._state.adding:  # noqa: SLF001 - Django has no public name for "not in the table yet"
        row.save(force_insert=True)
        return True
    if changed:
        row.save(update_fields=changed)
    return bool(changed)
