"""Writing rows only where they differ, so that a repeated event leaves no trace in the audit log."""

from datetime import UTC, datetime
from typing import Any

from django.db.models import Model

from billing.stripe.errors import PermanentError

LAST_SECOND = int(datetime(2199, 12, 31, 23, 59, 59, tzinfo=UTC).timestamp())
# Twelve digits: https://docs.stripe.com/currencies#minimum-and-maximum-charge-amounts
MOST_CENTS = 999_999_999_999
LARGEST_INT = 2**31 - 1
# What is to be written into a row, by the name of its column.
Columns = dict[str, Any]


def moment(timestamp: int | None) -> datetime | None:
    """Stripe's Unix seconds as an aware datetime; what lies outside of 1970 to 2199 is its end."""
    return None if timestamp is None else datetime.fromtimestamp(min(max(timestamp, 0), LAST_SECOND), UTC)


def possible(cents: int, subject: str) -> int:
    """The amount, in the currency's smallest unit; PermanentError for more than Stripe can charge."""
    if cents > MOST_CENTS:
        raise PermanentError(f"{subject} is {cents:,} of the smallest unit at Stripe, more than {MOST_CENTS:,}.")
    return cents


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
