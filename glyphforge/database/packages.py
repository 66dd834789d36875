"""The tables of installed packages, as their models describe them."""

import re
from typing import Any

from django.apps import apps
from django.conf import settings
from django.db import connections
from django.db.migrations.recorder import MigrationRecorder
from django.db.models import Field
from django.utils.module_loading import import_string

from glyphforge.database import desired

# By table and column: the type as format_type() prints it, and whether it is NOT NULL.
Tables = dict[str, dict[str, dict[str, Any]]]


def tables(alias: str) -> Tables:
    """Every table that a model has and no file of ours defines: table to column to `type` and `not null`.

    A type is written as format_type() prints it, so that it can be compared with the catalogue.
    """
    ours = desired.table_names()
    models: list[Any] = [*apps.get_models(include_auto_created=True), MigrationRecorder.Migration]
    found: Tables = {}
    for model in models:
        meta = model._meta
        if meta.managed and not meta.proxy and meta.db_table not in ours:
            found[meta.db_table] = _columns(meta, alias)
    return found


def stand_in(table: str, columns: dict[str, dict[str, Any]]) -> str:
    """The statement that makes an empty table of these columns, for views and foreign keys to refer to."""
    described = (
        f'"{name}" {column["type"]}{" PRIMARY KEY" if name == "id" else ""}' for name, column in columns.items()
    )
    return f'CREATE TABLE "{table}" ({", ".join(described)})'


def definition(table: str, alias: str = "default") -> str:
    """The statements that make the table of a package's model, as its migrations left it: with keys and indexes."""
    models: list[Any] = [*apps.get_models(include_auto_created=True), MigrationRecorder.Migration]
    model = next(model for model in models if model._meta.db_table == table)
    with connections[alias].schema_editor(collect_sql=True, atomic=False) as editor:
        editor.create_model(model)
    return "\n".join(editor.collected_sql)


def _columns(meta: Any, alias: str) -> dict[str, dict[str, Any]]:
    project_key: Field[Any, Any] = import_string(settings.DEFAULT_AUTO_FIELD)()
    columns = {}
    for field in meta.local_concrete_fields:
        # A join table's own key follows the project, not the package, as its migration ran here.
        kind = project_key if meta.auto_created and field.primary_key else field
        if db_type := kind.db_type(connections[alias]):
            columns[field.column] = {"type": _catalogue_name(db_type), "not null": not field.null}
    return columns


def _catalogue_name(db_type: str) -> str:
    """Django's name of a column type as format_type() prints it."""
    name = re.sub(r"^varchar\b", "character varying", db_type)
    name = re.sub(r"^char\b", "character", name)
    name = re.sub(r"^time$", "time without time zone", name)
    return name.replace(", ", ",")
