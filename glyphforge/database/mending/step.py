"""A step of mending, and the pieces of SQL that its statements are made of."""

from dataclasses import dataclass
from enum import IntEnum, auto

# What `pg_trigger.tgenabled` says, as ALTER TABLE has it.
_ENABLED = {"O": "ENABLE", "D": "DISABLE", "R": "ENABLE REPLICA", "A": "ENABLE ALWAYS"}


class Phase(IntEnum):
    """When a statement's turn comes: each kind after what it needs."""

    MIGRATIONS = auto()
    AWAY = auto()
    SEQUENCES = auto()
    TABLES = auto()
    COLUMNS = auto()
    OWNERS = auto()
    FUNCTIONS = auto()
    KEYS = auto()
    CONSTRAINTS = auto()
    FOREIGN_KEYS = auto()
    INDEXES = auto()
    VIEWS = auto()
    TRIGGERS = auto()
    PARTITIONS = auto()
    RIGHTS = auto()
    EXTRA = auto()


@dataclass(frozen=True)
class Step:
    """A statement, or a few, without the last semicolon, and what for; "" where only a person can do it.

    `rank` orders the steps of a phase.
    """

    phase: Phase
    note: str
    statement: str = ""
    rank: int = 0


def identifier(name: str) -> str:
    """A name as SQL has it."""
    return '"{}"'.format(name.replace('"', '""'))


def signature(name: str) -> str:
    """A function's name with its arguments, as the catalogue's key has it, as SQL has it."""
    function, bracket, arguments = name.partition("(")
    return f"{identifier(function)}{bracket}{arguments}"


def enabling(table: str, trigger: str, enabled: str) -> str:
    """The statement that gives a trigger its state; `enabled` is a letter of the catalogue."""
    return f"ALTER TABLE {identifier(table)} {_ENABLED[enabled]} TRIGGER {identifier(trigger)}"


def commented(text: str) -> str:
    """The text as comments of SQL, line by line."""
    return "\n".join(f"-- {line}" for line in text.splitlines())


def relation(kind: str, name: str, wanted: dict, found: dict, note: str) -> list[Step]:
    """What tables, partitions and views have in common: owner, persistence and storage parameters.

    `kind` is the word behind ALTER.
    """
    alter = f"ALTER {kind} {identifier(name)}"
    statements = []
    if wanted.get("owner", found["owner"]) != found["owner"]:
        statements.append(f"{alter} OWNER TO {identifier(wanted['owner'])}")
    if wanted.get("persistence", found.get("persistence")) != found.get("persistence"):
        statements.append(f"{alter} SET {'LOGGED' if wanted['persistence'] == 'p' else 'UNLOGGED'}")
    before, after = (set(each.get("options") or ()) for each in (found, wanted))
    if gone := {option.partition("=")[0] for option in before - after}:
        statements.append(f"{alter} RESET ({', '.join(sorted(gone))})")
    if come := after - before:
        statements.append(f"{alter} SET ({', '.join(sorted(come))})")
    return [Step(Phase.OWNERS, note, statement) for statement in statements]
