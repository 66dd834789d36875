"""What docs/runbook.md says of each check: the one source of it, which every package of the product takes along."""

import re
from dataclasses import dataclass
from functools import cache

from django.conf import settings

PATH = settings.BASE_DIR / "docs" / "runbook.md"
# A row of its tables: one check or several, what it means, what to do.
_ROW = re.compile(r"^\| (?P<checks>`\w+`(?:, `\w+`)*) \| (?P<means>.*?) \| (?P<do>.*?) \|$", re.MULTILINE)


@dataclass(frozen=True)
class Entry:
    """What a check means and what to do, in Markdown as the runbook has it."""

    means: str
    do: str


def entry(check: str) -> Entry | None:
    """The runbook's row of a check; None where it has none, or is not installed."""
    return _entries().get(check)


@cache
def _entries() -> dict[str, Entry]:
    if not PATH.is_file():
        return {}
    return {
        check: Entry(row["means"], row["do"])
        for row in _ROW.finditer(PATH.read_text(encoding="utf-8"))
        for check in re.findall(r"\w+", row["checks"])
    }
