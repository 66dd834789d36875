"""Writing rows only where they differ, so that a repeated event leaves no trace in the audit log."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, cast, overload

from django.core.exceptions import ValidationError
from django.db.models import Field, Model

LAST_SECOND = int(datetime(2199, 12, 31, 23, 59, 59, tzinfo=UTC).timestamp())
# What is to be written into a row, by the name of its column.
Columns = dict[str, Any]


@dataclass(frozen=True)
class Change:
    """A column of a row that was there before, and what `write` put in place of what."""

    row: Model
    name: str
    old: Any
    new: Any


_changes: ContextVar[list[Change] | None] = ContextVar("changes", default=None)


@contextmanager
def noted() -> Iterator[list[Change]]:
    """Collect what `write` changes inside of the block; what it inserts is no change."""
    changes: list[Change] = []
    token = _changes.set(changes)
    try:
        yield changes
    finally:
        _changes.reset(token)


@overload
def moment(timestamp: int) -> datetime: ...
@overload
def moment(timestamp: None) -> None: ...
@overload
def moment(timestamp: int | None) -> datetime | None: ...
def moment(timestamp: int | None) -> datetime | None:
    """Stripe's Unix seconds as an aware datetime; ValueError for what lies outside of 1970 to 2199."""
    if timestamp is None:
        return None
    if not 0 <= timestamp <= LAST_SECOND:
        raise ValueError(f"{timestamp} is no moment of 1970 to 2199 in Unix seconds.")
    return datetime.fromtimestamp(timestamp, UTC)


def write(row: Model, values: Columns) -> bool:
    """Set `values` on `row` and save what changed; a row without a table row is inserted. True when written.

    Raises ValueError for a value that its column does not take.
    """
    changed = [name for name, value in values.items() if getattr(row, name) != value]
    noting = _changes.get()
    for name in changed:
        if why_not := problem(row, name, values[name]):
            raise ValueError(why_not)
        if noting is not None and not row._state.adding:  # noqa: SLF001 - see below
            noting.append(Change(row, name, getattr(row, name), values[name]))
        setattr(row, name, values[name])
    if row._state.adding:  # noqa: SLF001 - Django has no public name for "not in the table yet"
        row.save(force_insert=True)
        return True
    if changed:
        row.save(update_fields=changed)
    return bool(changed)


def problem(row: Model, name: str, value: Any) -> str | None:
    """Why the column `name` does not take `value`, by the bounds and choices of its field; None when it does."""
    field = cast("Field[Any, Any]", row._meta.get_field(name))
    if value is None:
        return None if field.null else f"{name} is missing."
    if field.choices and value not in dict(field.flatchoices):
        return f"{name} {value!r} is unknown; known are {', '.join(map(str, dict(field.flatchoices)))}."
    if isinstance(value, str) and "\0" in value:
        return f"{name} contains a NUL character."
    try:
        field.run_validators(value)
    except ValidationError as error:
        return f"{name} {value!r}: {' '.join(error.messages)}"
    return None
