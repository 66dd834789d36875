"""The recorded Stripe histories that ship with the project.

Each file under `recordings/` is one scenario; see `recordings/README.md`. Nothing in them is
written by hand, so tests may treat `expected` as what Stripe itself would say.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from glyphforge.rows import Json

FOLDER = Path(__file__).resolve().parent / "recordings"


@dataclass(frozen=True)
class Recording:
    """One scenario: what Stripe sent, what it answers afterwards, and the end state per customer.

    `events` are in the order of time, `objects` map an id to the object at the end; what `expected` means is in
    `recordings/README.md`.
    """

    name: str
    description: str
    api_version: str
    events: list[Json]
    objects: dict[str, Json]
    expected: list[Json]


@cache
def load(name: str) -> Recording:
    """Return the recording called `name`; callers must not change it (it is shared)."""
    data = json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8"))
    return Recording(
        name=name,
        description=data["description"],
        api_version=data["api_version"],
        events=data["events"],
        objects=data["objects"],
        expected=data["expected"]["customers"],
    )


def names() -> list[str]:
    """The names of all scenarios, sorted."""
    return sorted(path.stem for path in FOLDER.glob("*.json") if path.stem != "catalogue")


def load_all() -> list[Recording]:
    """Every scenario; their ids never collide, so all of them fit into one database."""
    return [load(name) for name in names()]
