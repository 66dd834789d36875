"""The desired state of the schema, built once: that takes a second or two and depends on the definitions alone."""

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from glyphforge.database import desired, packages, verify
from glyphforge.database.catalogue import Catalogue

# By what it is made of, who made it, and how the session prints.
_states: dict[Any, Catalogue] = {}


@contextmanager
def remembered() -> Iterator[None]:
    """Until the end of the block `verify` takes what it built before from the same definitions as the same role."""
    build = verify.desired_state

    def desired_state(cursor: Any, theirs: packages.Tables) -> Catalogue:
        cursor.execute("SELECT current_user, version(), current_setting('timezone'), current_setting('datestyle')")
        key = (*cursor.fetchone(), repr(theirs), *(file.read_text(encoding="utf-8") for file in desired.statements()))
        if key not in _states:
            _states[key] = build(cursor, theirs)
        return copy.deepcopy(_states[key])

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(verify, "desired_state", desired_state)
        yield


def forget() -> None:
    """The next comparison builds it anew."""
    _states.clear()
