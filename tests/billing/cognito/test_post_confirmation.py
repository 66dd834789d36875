"""The Lambda handler that Cognito calls when a sign-up is confirmed."""

import importlib.util
from pathlib import Path
from typing import Any

import pytest

from billing.models import User
from tests.support.factories import customer

pytestmark = pytest.mark.django_db
SOURCE = Path(__file__).resolve().parents[3] / "deploy" / "lambda" / "post_confirmation.py"


@pytest.fixture
def handler(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(SOURCE.parent))  # as in the package
    spec = importlib.util.spec_from_file_location("post_confirmation", SOURCE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.handler


def event(source: str = "PostConfirmation_ConfirmSignUp", **attributes: str) -> dict[str, Any]:
    given = {"sub": "sub-ada", "email": "ada@example.com", "email_verified": "true", "cognito:user_status": "CONFIRMED"}
    return {
        "version": "1",
        "triggerSource": source,
        "userPoolId": "us-east-1_customers",
        "userName": "ada",
        "request": {"userAttributes": given | attributes},
        "response": {},
    }


def test_a_confirmed_sign_up_creates_the_customer_once(handler: Any) -> None:
    sent = event(name="Ada")
    for _ in range(2):  # Lambda may deliver twice
        assert handler(sent, None) is sent
    user = User.objects.get()
    assert (user.cognito_user_id, user.email, user.name) == ("sub-ada", "ada@example.com", "Ada")
    assert user.subscriptions.get().tier == "free"


def test_a_sign_up_joins_the_customer_that_stripe_knew_first(handler: Any) -> None:
    user = customer(email="ada@example.com", stripe_customer_id="cus_1")
    handler(event(), None)
    user.refresh_from_db()
    assert user.cognito_user_id == "sub-ada"


def test_a_reset_password_is_no_sign_up(handler: Any) -> None:
    handler(event(source="PostConfirmation_ConfirmForgotPassword"), None)
    assert not User.objects.exists()


def test_an_address_of_somebody_else_is_left_alone_and_the_sign_up_succeeds(handler: Any) -> None:
    customer(email="ada@example.com", cognito_user_id="sub-other")
    sent = event()
    assert handler(sent, None) is sent
    assert User.objects.get().cognito_user_id == "sub-other"


def test_a_failure_is_logged_and_does_not_fail_the_sign_up(handler: Any, caplog: pytest.LogCaptureFixture) -> None:
    sent = event()
    del sent["request"]["userAttributes"]["sub"]
    assert handler(sent, None) is sent
    assert "could not be stored" in caplog.text
    assert "ada@example.com" not in caplog.records[-1].getMessage()
