"""What mends a partition: of its month it is made by the database's own function, else piece by piece."""

import re
from collections.abc import Iterator
from typing import Any

from glyphforge.database.catalogue import Catalogue, Key
from glyphforge.database.mending.step import Phase, Step, enabling, identifier, relation
from glyphforge.database.verify import MONTHS_AHEAD

Attributes = dict[str, Any]


def missing(actual: Catalogue, name: str, wanted: Attributes, note: str) -> Iterator[Step]:
    """Make it, or attach the table of its name that is there."""
    parent = wanted["of"]
    if Key("table", name) in actual:
        yield Step(Phase.PARTITIONS, note, _attach(parent, name, wanted["bounds"]))
        return
    if wanted["bounds"] != "DEFAULT":
        yield Step(Phase.PARTITIONS, note, f"SELECT create_{parent}_partitions({MONTHS_AHEAD})", 1)
        return
    given = f" WITH ({', '.join(wanted['options'])})" if wanted["options"] else ""
    made = f"CREATE TABLE {identifier(name)} PARTITION OF {identifier(parent)} DEFAULT{given}"
    yield Step(Phase.TABLES, note, made, 1)  # a view may read it by its name
    yield Step(Phase.OWNERS, note, f"ALTER TABLE {identifier(name)} OWNER TO {identifier(wanted['owner'])}", 1)
    yield from own_triggers(name, wanted, note)


def own_triggers(name: str, wanted: Attributes, note: str) -> Iterator[Step]:
    """Make the triggers that it has not of its parent: those for each statement."""
    for definition, _ in (wanted["triggers"] or {}).values():
        if "FOR EACH ROW" not in definition:
            yield Step(Phase.TRIGGERS, note, _trigger(name, definition), 1)


def different(expected: Catalogue, actual: Catalogue, name: str, wanted: Attributes, note: str) -> Iterator[Step]:
    """Mend what of it differs and does not come with its parent."""
    found = actual[Key("partition", name)]
    parent = wanted["of"]
    if found["half detached"]:
        yield Step(
            Phase.PARTITIONS, note, f"ALTER TABLE {identifier(parent)} DETACH PARTITION {identifier(name)} FINALIZE"
        )
        yield Step(Phase.PARTITIONS, note, _attach(parent, name, found["bounds"]), 1)
    if (found["of"], found["bounds"]) != (wanted["of"], wanted["bounds"]):
        yield Step(
            Phase.PARTITIONS,
            f"{note}\nDETACH it from {parent}, have its months made, and INSERT its rows into {parent}.",
        )
    yield from relation("TABLE", name, wanted, found, note)
    yield from _columns(name, wanted["columns"], found["columns"], note)
    yield from _constraints(expected, actual, name, wanted, note)
    for definition in set(wanted["indexes"] or ()) - set(found["indexes"] or ()):
        if f"{definition} INVALID" in (found["indexes"] or ()):
            broken = found["names"][f"{definition} INVALID"]
            yield Step(Phase.PARTITIONS, note, f"REINDEX INDEX CONCURRENTLY {identifier(broken)}")
            continue
        for index in indexes_of(actual, parent):  # one that is missing there brings its parts along
            if definition_of(actual[Key("index", f"{parent}.{index}")]["definition"]) == definition:
                yield from index_part(actual, name, index, actual[Key("index", f"{parent}.{index}")], note)
    for definition in set(found["indexes"] or ()) - set(wanted["indexes"] or ()):
        if not definition.endswith(" INVALID"):
            index = identifier(found["names"][definition])
            yield Step(Phase.EXTRA, f"{note}\nKeep it or drop it:\nDROP INDEX CONCURRENTLY {index};")
    yield from _triggers(actual, name, wanted, found, note)


def indexes_of(catalogue: Catalogue, table: str) -> list[str]:
    """The names of a table's indexes."""
    return [key.name.partition(".")[2] for key in catalogue if key.kind == "index" and key.name.startswith(f"{table}.")]


def definition_of(statement: str) -> str:
    """What an index says, without its name and table, as the catalogue has it of a partition's."""
    unique = "UNIQUE " if statement.startswith("CREATE UNIQUE") else ""
    return unique + statement[statement.index(" USING ") + 1 :]


def index_part(actual: Catalogue, partition: str, index: str, wanted: Attributes, note: str) -> Iterator[Step]:
    """A partition's part of an index on its parent, built without keeping writers out, and attached."""
    parent = actual[Key("partition", partition)]["of"]
    definition = definition_of(wanted["definition"])
    name = (actual[Key("partition", partition)]["names"] or {}).get(definition)
    if name is None:
        name = f"{partition}_{index.removeprefix(f'{parent}_')}"[:63]
        unique = "UNIQUE " if definition.startswith("UNIQUE ") else ""
        built = f"CREATE {unique}INDEX CONCURRENTLY {identifier(name)} ON {identifier(partition)}"
        yield Step(Phase.INDEXES, note, f"{built} {definition.removeprefix('UNIQUE ')}", 2)
    yield Step(Phase.INDEXES, note, f"ALTER INDEX {identifier(index)} ATTACH PARTITION {identifier(name)}", 3)


def _attach(parent: str, name: str, bounds: str) -> str:
    return f"ALTER TABLE {identifier(parent)} ATTACH PARTITION {identifier(name)} {bounds}"


def _trigger(partition: str, definition: str) -> str:
    made = definition.replace(" ON … ", f" ON {identifier(partition)} ", 1)
    return made.replace("CREATE TRIGGER", "CREATE OR REPLACE TRIGGER", 1)


def _columns(name: str, wanted: dict[str, str], found: dict[str, str], note: str) -> Iterator[Step]:
    """Its defaults and NOT NULL; types, and which columns there are, are its parent's."""
    for column, text in wanted.items():
        if column not in found or found[column] == text:
            continue
        alter = f"ALTER TABLE {identifier(name)} ALTER COLUMN {identifier(column)}"
        default, before = (re.search(r" (DEFAULT .*)", each) for each in (text, found[column]))
        if (default and default[1]) != (before and before[1]):
            yield Step(Phase.PARTITIONS, note, f"{alter} {f'SET {default[1]}' if default else 'DROP DEFAULT'}")
        required, was = (" NOT NULL" in each for each in (text, found[column]))
        if required != was:
            yield Step(Phase.PARTITIONS, note, f"{alter} {'SET' if required else 'DROP'} NOT NULL", 1)


def _constraints(expected: Catalogue, actual: Catalogue, name: str, wanted: Attributes, note: str) -> Iterator[Step]:
    found = actual[Key("partition", name)]
    of_parent = {
        attributes["definition"]
        for key, attributes in expected.items()
        if key.kind == "constraint" and key.name.startswith(f"{wanted['of']}.")
    }
    for definition in set(wanted["constraints"] or ()) - set(found["constraints"] or ()) - of_parent:
        yield Step(Phase.PARTITIONS, note, f"ALTER TABLE {identifier(name)} ADD {definition}")
    for definition in set(found["constraints"] or ()) - set(wanted["constraints"] or ()):
        removal = f"ALTER TABLE {identifier(name)} DROP CONSTRAINT {identifier(found['names'][definition])}"
        yield Step(Phase.EXTRA, f"{note}\nKeep it or drop it, where its parent has none such:\n{removal};")


def _triggers(actual: Catalogue, name: str, wanted: Attributes, found: Attributes, note: str) -> Iterator[Step]:
    before, after = found["triggers"] or {}, wanted["triggers"] or {}
    for trigger, (definition, enabled) in after.items():
        known, was = before.get(trigger, (None, "O"))
        if known != definition:
            if "FOR EACH ROW" in definition and Key("trigger", f"{wanted['of']}.{trigger}") not in actual:
                continue  # comes with its parent's
            yield Step(Phase.PARTITIONS, note, _trigger(name, definition))
            was = "O"
        if enabled != was:
            yield Step(Phase.PARTITIONS, note, enabling(name, trigger, enabled), 1)
    for trigger in before.keys() - after.keys():
        if Key("trigger", f"{wanted['of']}.{trigger}") not in actual:
            yield Step(
                Phase.EXTRA,
                f"{note}\nKeep it or drop it:\nDROP TRIGGER {identifier(trigger)} ON {identifier(name)};",
            )
