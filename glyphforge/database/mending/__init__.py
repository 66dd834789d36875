"""The statements that mend what `verify` found, in the order in which they can be run.

What is extra may be somebody's work: its removal is printed as a comment, for a person to decide. A difference that no
statement mends says what to do. Views, triggers and foreign keys that are in the way of another change are taken away
first and made again, with their rights, afterwards.
"""

from collections.abc import Iterable

from glyphforge.database.mending.objects import Mender
from glyphforge.database.mending.step import Step, commented
from glyphforge.database.verify import Comparison, Difference

# For a session that does nothing else.
SETTINGS = (
    "SET search_path = public",
    "SET check_function_bodies = off",  # a body may name what a later statement makes
    "SET lock_timeout = '10s'",  # whoever waits for a lock keeps others waiting
)
HEADER = "Run it with psql, as the owner of the tables: an index is built CONCURRENTLY, which no transaction may hold."


def script(comparison: Comparison) -> str:
    """The text that psql runs to mend everything."""
    steps = plan(comparison)
    if not steps:
        return commented("The database is what the migrations define.")
    return "\n".join([commented(HEADER), *(f"{setting};" for setting in SETTINGS), "", text(steps)])


def text(steps: Iterable[Step]) -> str:
    """The statements, each under what it is for."""
    lines: list[str] = []
    noted = ""
    for step in steps:
        if step.note != noted:
            lines += [*([""] if lines else []), commented(step.note)]
        noted = step.note
        if step.statement:
            lines.append(f"{step.statement.rstrip().removesuffix(';')};")
    return "\n".join(lines)


def plan(comparison: Comparison, chosen: Iterable[Difference] | None = None) -> list[Step]:
    """The steps in their order, none twice, that mend the `chosen` differences, by default all."""
    mender = Mender(comparison, comparison.differences if chosen is None else list(chosen))
    steps = sorted(mender.steps(), key=lambda step: (step.phase, step.rank))
    first = {step.statement or step.note: step for step in reversed(steps)}
    return [step for step in steps if first[step.statement or step.note] is step]
