"""A member of staff and their authenticator app."""

import pytest
from django.contrib.auth.models import User

from tests.support.sign_in import PASSWORD, Codes, authenticator_app


@pytest.fixture
def ada(db: None) -> User:
    return User.objects.create_user("ada", email="ada@example.com", password=PASSWORD, is_staff=True, is_superuser=True)


@pytest.fixture
def app(monkeypatch: pytest.MonkeyPatch) -> Codes:
    return authenticator_app(monkeypatch)
