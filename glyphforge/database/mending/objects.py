"""What mends each kind of object."""

import re
from collections.abc import Callable, Iterable, Iterator
from graphlib import TopologicalSorter
from typing import Any

from glyphforge.database import desired, packages
from glyphforge.database.catalogue import FOR_MENDING, Key
from glyphforge.database.mending import partitions
from glyphforge.database.mending.step import Phase, Step, enabling, identifier, relation, signature
from glyphforge.database.verify import SCRATCH, Comparison, Difference

Attributes = dict[str, Any]


def _ranks(views: dict[str, Attributes]) -> dict[str, int]:
    """The views, each after those that it reads."""
    reads = {name: {other.partition(".")[0] for other in found["reads"] or ()} for name, found in views.items()}
    ordered = (name for name in TopologicalSorter(reads).static_order() if name in reads)
    return {name: rank for rank, name in enumerate(ordered)}


class Mender:
    """Turns chosen differences of a comparison into steps."""

    def __init__(self, comparison: Comparison, wanted: list[Difference]) -> None:
        self.expected, self.actual = comparison.expected, comparison.actual
        self.packages = comparison.packages
        self.wanted = wanted
        self.files = {file.name.removesuffix(".sql"): file for file in desired.statements(kinds=["tables"])}
        self.new_tables = {each.name for each in wanted if (each.problem, each.kind) == ("missing", "table")}
        views = {key.name: found for key, found in self.actual.items() if key.kind == "view"}
        self.dropped = _ranks(views)
        self.made = _ranks(views | {key.name: found for key, found in self.expected.items() if key.kind == "view"})
        self.away = self._in_the_way()

    # --- what is in the way ---------------------------------------------------------------------

    def _in_the_way(self) -> set[str]:
        """The views that must go, so that they or what they read can change, with all that read them."""
        gone = {each.name for each in self.wanted if each.kind == "view" and self._must_be_remade(each.name)}
        for each in self.wanted:
            holder = each.name.partition(".")[0]
            if each.kind == "column" and Key("view", holder) in self.actual:
                gone.add(holder)
            elif (each.kind == "column" and self._is_retyped(each.name)) or (
                each.kind == "function" and self._must_be_dropped(each.name)
            ):
                gone |= {view for view in self.dropped if each.name in self._reads(view)}
        while more := {view for view in self.dropped if view not in gone and self._tables_of(view) & gone}:
            gone |= more
        return gone

    def _reads(self, view: str) -> set[str]:
        return set(self.actual.get(Key("view", view), {}).get("reads") or ())

    def _tables_of(self, view: str) -> set[str]:
        return {name.partition(".")[0] for name in self._reads(view)}

    def _must_be_remade(self, view: str) -> bool:
        """Whether CREATE OR REPLACE cannot do it, which appends columns and no more."""
        wanted, found = (state.get(Key("view", view)) for state in (self.expected, self.actual))
        if not wanted or not found:
            return False
        before, after = found["columns in order"], wanted["columns in order"]
        return wanted["materialized"] != found["materialized"] or before != after[: len(before)]

    def _is_retyped(self, column: str) -> bool:
        wanted, found = (state.get(Key("column", column)) for state in (self.expected, self.actual))
        kept = ("type", "collation", "generated")
        return bool(wanted and found and any(wanted.get(name, found.get(name)) != found.get(name) for name in kept))

    def _must_be_dropped(self, name: str) -> bool:
        """Whether CREATE OR REPLACE FUNCTION cannot do it: another result, other names of arguments."""
        wanted, found = (state.get(Key("function", name)) for state in (self.expected, self.actual))
        kept = ("arguments", "result", "kind")
        return bool(wanted and found and any(wanted[each] != found[each] for each in kept))

    # --- all steps -------------------------------------------------------------------------------

    def steps(self) -> Iterator[Step]:
        """Every step, in no order; some twice."""
        for each in self.wanted:
            note = str(each)
            if each.problem == "extra":
                yield from self._extra(each, note)
                continue
            key = Key(each.kind, each.name)
            if each.kind in {"right", "role"}:
                yield Step(Phase.RIGHTS, note, self.expected[key]["statement"])
                continue
            mend: Callable[..., Iterable[Step]] = getattr(self, f"_{each.kind}")
            yield from mend(each.name, self.expected.get(key, {}), self.actual.get(key), note)
        for view in self.away:
            note = f"view {view}, which is in the way"
            kind = "MATERIALIZED VIEW" if self.actual[Key("view", view)]["materialized"] else "VIEW"
            yield Step(Phase.AWAY, note, f"DROP {kind} {identifier(view)}", -self.dropped[view])
            if wanted := self.expected.get(Key("view", view)):
                yield from self._make_view(view, wanted, note)
            else:
                yield self._make_if_possible(view, note)

    def _migration(self, name: str, wanted: Attributes, found: Attributes | None, note: str) -> Iterator[Step]:
        app, _, migration = name.partition(".")
        yield Step(
            Phase.MIGRATIONS,
            f"{note}\nDo this first, and verify again: manage.py migrate. Where what it makes is there already:"
            f" manage.py migrate {app} {migration} --fake",
        )

    def _extra(self, each: Difference, note: str) -> Iterator[Step]:
        holder, _, name = each.name.partition(".")
        if each.kind == "migration":
            yield Step(
                Phase.MIGRATIONS, f"{note}\nInstall the release that has it; an older one cannot know what it did."
            )
            return
        if each.kind == "table" and Key("partition", each.name) in self.expected:
            return  # attached again
        if each.kind == "function" and self._successor(each.name):
            return  # replaced
        if each.kind == "column" and holder in self.away:
            return  # comes with the view
        of = f"{identifier(name)} ON {identifier(holder)}"
        removal = {
            "column": f"ALTER TABLE {identifier(holder)} DROP COLUMN {identifier(name)}",
            "constraint": f"ALTER TABLE {identifier(holder)} DROP CONSTRAINT {identifier(name)}",
            "index": f"DROP INDEX {identifier(name)}",
            "trigger": f"DROP TRIGGER {of}",
            "rule": f"DROP RULE {of}",
            "policy": f"DROP POLICY {of}",
            "function": f"DROP FUNCTION {signature(each.name)}",
        }.get(each.kind, f"DROP {each.kind.upper()} IF EXISTS {identifier(each.name)}")
        yield Step(Phase.EXTRA, f"{note}\nKeep it or drop it:\n{removal};")

    # --- tables, columns, sequences ------------------------------------------------------------------

    def _table(self, name: str, wanted: Attributes, found: Attributes | None, note: str) -> Iterator[Step]:
        table = identifier(name)
        if found is None:
            note += "\nIts rows are gone: the newest backup has them."
            if name in self.packages:
                yield Step(Phase.TABLES, note, packages.definition(name))
                return
            text = self.files[name].read_text(encoding="utf-8")
            yield Step(Phase.TABLES, note, text)
            made = set(re.findall(r"(?:INDEX|CONSTRAINT) (\w+)", text))
            for key, attributes in self.expected.items():  # other files add to it
                holder, _, part = key.name.partition(".")
                if holder == name and key.kind == "trigger":
                    yield from self._trigger(key.name, attributes, None, note)
                elif holder == name and key.kind == "index" and part not in made and not self._is_constraint(key.name):
                    yield Step(Phase.INDEXES, note, attributes["definition"].replace(" ON ONLY ", " ON ", 1))
            yield Step(Phase.OWNERS, note, f"ALTER TABLE {identifier(name)} OWNER TO {identifier(wanted['owner'])}")
            yield from self._grants("TABLE", name, note)
            return
        yield from relation("TABLE", name, wanted, found, note)
        if wanted.get("row security") != found.get("row security"):
            yield Step(
                Phase.OWNERS,
                note,
                f"ALTER TABLE {table} {'ENABLE' if wanted['row security'] else 'DISABLE'} ROW LEVEL SECURITY",
            )
        if wanted.get("partitioned by") != found.get("partitioned by"):
            yield Step(
                Phase.TABLES, f"{note}\nRename the table, verify again, and move the rows into the one that it makes."
            )

    def _column(self, name: str, wanted: Attributes, found: Attributes | None, note: str) -> Iterator[Step]:
        holder, _, column = name.partition(".")
        if Key("view", holder) in self.expected:
            return  # comes with the view
        alter = f"ALTER TABLE {identifier(holder)}"
        at = f"{alter} ALTER COLUMN {identifier(column)}"
        generated = wanted.get("generated")
        if found is not None and generated is not None and generated != found["generated"]:
            yield Step(Phase.AWAY, note, f"{alter} DROP COLUMN {identifier(column)}")
            found = None
        if found is None:
            made = f"{alter} ADD COLUMN {identifier(column)} {wanted['type']}"
            if wanted.get("collation"):
                made += f" COLLATE {wanted['collation']}"
            if generated:
                made += f" GENERATED ALWAYS AS ({wanted['default']}) STORED"
            elif wanted.get("default") is not None:
                made += f" DEFAULT {wanted['default']}"
            yield Step(Phase.COLUMNS, note, made)
            found = {"type": wanted["type"], "default": wanted.get("default"), "collation": wanted.get("collation")}
        if self._is_retyped(name) or wanted["type"] != found["type"]:
            collation = f" COLLATE {wanted['collation']}" if wanted.get("collation") else ""
            using = f" USING {identifier(column)}::{wanted['type']}"
            yield from self._triggers_away(holder, column)
            yield Step(Phase.COLUMNS, note, f"{at} TYPE {wanted['type']}{collation}{using}")
        if "default" in wanted and wanted["default"] != found.get("default") and not generated:
            default = "DROP DEFAULT" if wanted["default"] is None else f"SET DEFAULT {wanted['default']}"
            yield Step(Phase.COLUMNS, note, f"{at} {default}", 1)
        if wanted["not null"] != found.get("not null", False):
            yield Step(Phase.COLUMNS, note, f"{at} {'SET' if wanted['not null'] else 'DROP'} NOT NULL", 2)
        identity = str(wanted.get("identity", found.get("identity")) or "")
        if identity != (found.get("identity") or ""):
            kind = {"a": "ALWAYS", "d": "BY DEFAULT"}.get(identity, "")
            if not identity:
                change = "DROP IDENTITY"
            else:
                change = f"SET GENERATED {kind}" if found.get("identity") else f"ADD GENERATED {kind} AS IDENTITY"
            yield Step(Phase.COLUMNS, note, f"{at} {change}", 3)

    def _triggers_away(self, table: str, column: str) -> Iterator[Step]:
        for key, trigger in self.actual.items():
            if key.kind == "trigger" and f"{table}.{column}" in (trigger.get("reads") or ()):
                name = key.name.partition(".")[2]
                note = f"trigger {key.name}, which is in the way"
                yield Step(Phase.AWAY, note, f"DROP TRIGGER {identifier(name)} ON {identifier(table)}")
                yield from self._trigger(key.name, self.expected.get(key, trigger), None, note)

    def _sequence(self, name: str, wanted: Attributes, found: Attributes | None, note: str) -> Iterator[Step]:
        smallest, largest = wanted["bounds"]
        limits = (
            f"AS {wanted['type']} INCREMENT BY {wanted['increment']} MINVALUE {smallest} MAXVALUE {largest}"
            f" START WITH {wanted['start']} {'CYCLE' if wanted['cycle'] else 'NO CYCLE'}"
        )
        holder, _, column = str(wanted["owned by"] or "").partition(".")
        if holder in self.new_tables:
            return  # its file makes the sequence
        if found is not None:
            yield Step(Phase.SEQUENCES, note, f"ALTER SEQUENCE {identifier(name)} {limits}")
        else:
            yield Step(Phase.SEQUENCES, note, f"CREATE SEQUENCE {identifier(name)} {limits}")
        if holder and (found is None or found["owned by"] != wanted["owned by"]):
            yield Step(Phase.OWNERS, note, f"ALTER SEQUENCE {identifier(name)} OWNED BY {holder}.{column}")
        if holder and found is None:
            highest = f"SELECT coalesce(max({identifier(column)}), 0) + 1 FROM {holder}"
            yield Step(Phase.OWNERS, note, f"SELECT setval('{name}', ({highest}), false)", 1)
        if not holder and (found is None or found["owner"] != wanted["owner"]):
            yield Step(Phase.OWNERS, note, f"ALTER SEQUENCE {identifier(name)} OWNER TO {identifier(wanted['owner'])}")
        if found is None:
            yield from self._grants("SEQUENCE", name, note)

    def _type(self, name: str, wanted: Attributes, found: Attributes | None, note: str) -> Iterator[Step]:
        yield Step(Phase.SEQUENCES, f"{note}\nCREATE or ALTER TYPE as the definition in sql/ says.")

    _rule = _policy = _type

    # --- what belongs to a table ---------------------------------------------------------------------

    def _constraint(self, name: str, wanted: Attributes, found: Attributes | None, note: str) -> Iterator[Step]:
        holder, _, constraint = name.partition(".")
        alter = f"ALTER TABLE {identifier(holder)}"
        definition = wanted["definition"]
        key = definition.startswith(("PRIMARY KEY", "UNIQUE", "EXCLUDE"))
        foreign = definition.startswith("FOREIGN KEY")
        phase = Phase.KEYS if key else Phase.FOREIGN_KEYS if foreign else Phase.CONSTRAINTS
        changed = found is None or found["definition"].removesuffix(" NOT VALID") != definition
        if found is not None and changed:
            for other, attributes in self.actual.items() if key else ():
                if other.kind == "constraint" and name in (attributes.get("reads") or ()):
                    table, _, dependent = other.name.partition(".")
                    because = f"constraint {other.name}, which is in the way"
                    yield Step(
                        Phase.AWAY, because, f"ALTER TABLE {identifier(table)} DROP CONSTRAINT {identifier(dependent)}"
                    )
                    yield from self._constraint(other.name, self.expected.get(other, attributes), None, because)
            yield Step(Phase.AWAY, note, f"{alter} DROP CONSTRAINT {identifier(constraint)}", 1)
        if changed:
            # Rows that are there are read without keeping writers out.
            late = "" if key or self._is_partitioned(holder) else " NOT VALID"
            yield Step(phase, note, f"{alter} ADD CONSTRAINT {identifier(constraint)} {definition}{late}")
            if late:
                yield Step(phase, note, f"{alter} VALIDATE CONSTRAINT {identifier(constraint)}", 1)
        elif found is not None and not found["validated"]:
            yield Step(phase, note, f"{alter} VALIDATE CONSTRAINT {identifier(constraint)}", 1)
        if found is not None and found["triggers enabled"] is False and not changed:
            yield Step(phase, f"{note}\nNeeds a superuser. Rows written meanwhile are unchecked.", found["statement"])

    def _is_constraint(self, index: str) -> bool:
        return Key("constraint", index) in self.expected

    def _is_partitioned(self, table: str) -> bool:
        return bool(self.expected.get(Key("table", table), {}).get("partitioned by"))

    def _index(self, name: str, wanted: Attributes, found: Attributes | None, note: str) -> Iterator[Step]:
        holder, _, index = name.partition(".")
        changed = found is None or found["definition"] != wanted["definition"]
        if self._is_constraint(name) and changed:
            return  # comes with the constraint
        partitioned = self._is_partitioned(holder)
        concurrently = "" if partitioned else " CONCURRENTLY"
        if not changed:
            if not partitioned:  # that of a partitioned table is valid once each partition has its part
                yield Step(Phase.INDEXES, note, f"REINDEX INDEX CONCURRENTLY {identifier(index)}")
            return
        if found is not None:
            yield Step(Phase.INDEXES, note, f"DROP INDEX{concurrently} {identifier(index)}")
        yield Step(Phase.INDEXES, note, wanted["definition"].replace(" INDEX ", f" INDEX{concurrently} ", 1), 1)
        if partitioned:
            for key in self.actual:
                if key.kind == "partition" and self.actual[key]["of"] == holder:
                    yield from partitions.index_part(self.actual, key.name, index, wanted, note)

    def _partition(self, name: str, wanted: Attributes, found: Attributes | None, note: str) -> Iterator[Step]:
        if wanted["of"] in self.new_tables and wanted["bounds"] == "DEFAULT":  # its file makes it
            yield from partitions.own_triggers(name, wanted, note)
            return
        if found is None:
            yield from partitions.missing(self.actual, name, wanted, note)
        else:
            yield from partitions.different(self.expected, self.actual, name, wanted, note)

    def _trigger(self, name: str, wanted: Attributes, found: Attributes | None, note: str) -> Iterator[Step]:
        holder, _, trigger = name.partition(".")
        if found is None or found["definition"] != wanted["definition"]:
            definition = wanted["definition"]
            if definition.startswith("CREATE CONSTRAINT") and found is not None:
                yield Step(Phase.AWAY, note, f"DROP TRIGGER {identifier(trigger)} ON {identifier(holder)}")
            replaced = definition.replace("CREATE TRIGGER", "CREATE OR REPLACE TRIGGER", 1)
            yield Step(Phase.TRIGGERS, note, replaced)
            enabled = "O"
        else:
            enabled = found["enabled"]
        if enabled != wanted["enabled"]:
            yield Step(Phase.TRIGGERS, note, enabling(holder, trigger, wanted["enabled"]), 1)

    # --- functions and views -------------------------------------------------------------------------

    def _successor(self, name: str) -> str | None:
        """The function that takes the place of one that differs in the names of its arguments alone."""
        types = self.actual[Key("function", name)]["types"]
        for key, wanted in self.expected.items():
            if key.kind == "function" and wanted["types"] == types and key not in self.actual:
                return key.name
        return None

    def _function(self, name: str, wanted: Attributes, found: Attributes | None, note: str) -> Iterator[Step]:
        made = signature(name)
        before = name if found is not None and self._must_be_dropped(name) else None
        if found is None:
            before = next(
                (
                    key.name
                    for key, other in self.actual.items()
                    if key.kind == "function" and other["types"] == wanted["types"]
                ),
                None,
            )
        if before:
            yield Step(Phase.AWAY, note, f"DROP FUNCTION {signature(before)}", 1)
        says = wanted.keys() - FOR_MENDING - {"owner", "open to all"}
        if before or found is None or any(wanted[each] != found[each] for each in says):
            yield Step(Phase.FUNCTIONS, note, wanted["statement"].replace(f"{SCRATCH}.", "public.", 1))
        is_new = found is None or bool(before)
        if is_new or (found and found["owner"] != wanted["owner"]):
            yield Step(Phase.FUNCTIONS, note, f"ALTER FUNCTION {made} OWNER TO {identifier(wanted['owner'])}", 1)
        if is_new or (found and found["open to all"] != wanted["open to all"]):
            change = "GRANT EXECUTE ON FUNCTION {} TO PUBLIC" if wanted["open to all"] else (
                "REVOKE EXECUTE ON FUNCTION {} FROM PUBLIC"
            )  # fmt: skip
            yield Step(Phase.FUNCTIONS, note, change.format(made), 2)
        if is_new:
            replaced = self.actual.get(Key("function", before)) if before else None
            yield from self._grants("FUNCTION", name, note, replaced)

    def _view(self, name: str, wanted: Attributes, found: Attributes | None, note: str) -> Iterator[Step]:
        if found is None:
            yield from self._make_view(name, wanted, note)
            return
        if name in self.away:
            return
        if found["definition"] != wanted["definition"]:
            replaced = f"CREATE OR REPLACE VIEW {identifier(name)} AS\n{wanted['definition']}"
            yield Step(Phase.VIEWS, note, replaced, 10 * self.made[name])
        yield from relation("VIEW", name, wanted, found, note)

    def _make_view(self, name: str, wanted: Attributes, note: str) -> Iterator[Step]:
        kind = "MATERIALIZED VIEW" if wanted["materialized"] else "VIEW"
        given = f" WITH ({', '.join(wanted['options'])})" if wanted["options"] else ""
        rank = 10 * self.made[name]
        made = f"CREATE {kind} {identifier(name)}{given} AS\n{wanted['definition']}"
        yield Step(Phase.VIEWS, note, made, rank)
        owner = f"ALTER {kind} {identifier(name)} OWNER TO {identifier(wanted['owner'])}"
        yield Step(Phase.VIEWS, note, owner, rank + 1)
        yield from self._grants("TABLE", name, note, self.actual.get(Key("view", name)))

    def _make_if_possible(self, name: str, note: str) -> Step:
        """Make somebody's view again, who may have read what is no longer there."""
        before = self.actual[Key("view", name)]
        made = [step.statement.rstrip().removesuffix(";") for step in self._make_view(name, before, note)]
        each = "\n".join(f"    EXECUTE $view$\n{statement}\n$view$;" for statement in made)
        warning = f"RAISE WARNING 'view {name} cannot be made again: %', SQLERRM"
        attempt = f"DO $mend$\nBEGIN\n{each}\nEXCEPTION WHEN OTHERS THEN\n    {warning};\nEND\n$mend$"
        return Step(Phase.EXTRA, f"{note}\nIt was:\n{before['definition']}", attempt, -1)

    # --- rights ----------------------------------------------------------------------------------------

    def _grants(self, kind: str, name: str, note: str, before: Attributes | None = None) -> Iterator[Step]:
        """The rights to what is made anew: those to what was there before."""
        on = f"{kind} {signature(name) if kind == 'FUNCTION' else identifier(name)}"
        for privilege, role in (before or {}).get("grants") or ():
            yield Step(Phase.RIGHTS, note, f"GRANT {privilege} ON {on} TO {role}")
