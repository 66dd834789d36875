"""Somebody of each role, signed in."""

from collections.abc import Callable

import pytest
from django.test import Client

from tests import factories


@pytest.fixture
def signed_in(db: None) -> Callable[[str], Client]:
    """Signs a new member of staff of the role in."""

    def sign_in(role: str) -> Client:
        client = Client()
        client.force_login(factories.staff(role))
        return client

    return sign_in
