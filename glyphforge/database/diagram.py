"""The entity-relationship diagram of our tables, as Mermaid text that code hosts render."""

from collections.abc import Iterator

from django.apps import apps
from django.db.models import Field, ForeignKey, Model

from glyphforge.database import desired


def _type(field: Field) -> str:
    """The column's type without its modifiers: Mermaid allows one word."""
    from django.db import connection  # noqa: PLC0415 - not needed before a database is configured

    return (field.db_type(connection) or "").split("(")[0].replace(" with time zone", "tz").replace(" ", "_")


def _tables() -> list[type[Model]]:
    ours = desired.table_names()
    return sorted(
        (model for model in apps.get_models() if model._meta.db_table in ours), key=lambda model: model._meta.db_table
    )


def _lines() -> Iterator[str]:
    tables = _tables()
    yield "erDiagram"
    for model in tables:
        yield f"    {model._meta.db_table} {{"
        for field in model._meta.concrete_fields:
            marks = [
                mark
                for mark, holds in (
                    ("PK", field.primary_key),
                    ("FK", isinstance(field, ForeignKey)),
                    ("UK", field.unique and not field.primary_key),
                )
                if holds
            ]
            yield f"        {_type(field)} {field.column} {', '.join(marks)}".rstrip()
        yield "    }"
    for model in tables:
        for field in model._meta.concrete_fields:
            if isinstance(field, ForeignKey) and field.related_model in tables:
                parent = field.related_model._meta.db_table
                many = "|o--o{" if field.null else "||--o{"
                if field.unique:
                    many = many.replace("o{", "o|")
                yield f"    {parent} {many} {model._meta.db_table} : {field.column}"


def entity_relationship_diagram() -> str:
    """Every table of ours with its columns, keys and references; unmanaged models (views) are left out."""
    return "\n".join(_lines()) + "\n"
