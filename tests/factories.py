"""Rows for tests, one function a noun; what a test does not mention gets a believable value."""

import itertools
from typing import Any

from billing.models import ApiKey, User
from billing.services import api_keys

_numbers = itertools.count(1)


def customer(**values: Any) -> User:
    """A customer with an address of their own; the database adds the free subscription."""
    user = User.objects.create(**{"email": f"customer{next(_numbers)}@example.com"} | values)
    user.refresh_from_db()
    return user


def issued_key(user: User | None = None, **values: Any) -> api_keys.IssuedKey:
    """A usable key together with its raw text."""
    defaults = {"environment": ApiKey.Environment.PRODUCTION, "actor": "test", "reason": "needed"}
    return api_keys.issue(user or customer(), **defaults | values)
