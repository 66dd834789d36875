"""Texts that people and other programs wrote, as PostgreSQL can hold them."""

import re
from typing import Any

# NUL characters and lone surrogates: https://www.postgresql.org/docs/current/datatype-character.html
_UNSTORABLE = re.compile("[\0\ud800-\udfff]")


def storable(text: str) -> str:
    """The text with U+FFFD in place of what PostgreSQL cannot hold: NUL characters and lone surrogates."""
    return _UNSTORABLE.sub("\ufffd", text)


def cut(text: str, length: int) -> str:
    """The beginning of a label, so many characters at most, as `storable` makes it."""
    return storable(text[:length])


def storable_json(value: Any) -> Any:
    """A copy of `value` that jsonb can hold: texts as `storable` makes them, null for numbers too large for a float.

    See https://www.postgresql.org/docs/current/datatype-json.html
    """
    if isinstance(value, str):
        return storable(value)
    if isinstance(value, dict):
        return {storable_json(key): storable_json(member) for key, member in value.items()}
    if isinstance(value, list):
        return [storable_json(member) for member in value]
    if isinstance(value, float) and value in (float("inf"), float("-inf")):
        return None
    return value
