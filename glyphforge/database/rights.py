"""What the apps say about the rights to their tables, beyond that the application reads and writes them all."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from django.apps import apps


@dataclass(frozen=True)
class Rights:
    """An app's `database_rights`: tables that the application may only add to or only read, and columns to hide.

    `hidden_columns` maps a table to the columns that nobody who only looks may see. `maintenance` names functions that
    the web process does not need, `retention` those that remove what no other function could.
    """

    append_only: tuple[str, ...] = ()
    read_only: tuple[str, ...] = ()
    hidden_columns: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    maintenance: tuple[str, ...] = ()
    retention: tuple[str, ...] = ()


def declared() -> Rights:
    """The rights that all installed apps declare, put together."""
    said = [rights for config in apps.get_app_configs() if (rights := getattr(config, "database_rights", None))]
    return Rights(
        append_only=tuple(table for rights in said for table in rights.append_only),
        read_only=("django_migrations", *(table for rights in said for table in rights.read_only)),
        maintenance=tuple(function for rights in said for function in rights.maintenance),
        retention=tuple(function for rights in said for function in rights.retention),
        hidden_columns={table: columns for rights in said for table, columns in rights.hidden_columns.items()},
    )
