"""Stripe's objects are typed by what is read of them, and by nothing else."""

from pathlib import Path
from typing import is_typeddict

from billing.stripe import objects


def test_every_member_that_is_named_is_read() -> None:
    folder = Path(objects.__file__).parents[1]
    source = "".join(path.read_text() for path in folder.rglob("*.py") if path.name != "objects.py")
    kinds = [kind for kind in vars(objects).values() if is_typeddict(kind)]
    named = {f"{kind.__name__}.{member}" for kind in kinds for member in kind.__annotations__}
    assert {name for name in named if f'"{name.partition(".")[2]}"' not in source} == set()
