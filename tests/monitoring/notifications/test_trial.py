"""A test message goes out at once, and whoever sent it learns what the channel said."""

from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client

from glyphforge.audit.models import AuditEntry
from monitoring.models import Notification
from tests.support.admin_pages import CONFIRMED, page_of
from tests.support.mail_server import Mailbox
from tests.support.slack import Slack

pytestmark = pytest.mark.django_db
PAGE = page_of(Notification, "test_all")


@pytest.fixture
def operator(signed_in: Callable[[str], Client]) -> Client:
    return signed_in("operator")


def told(client: Client, channel: str) -> str:
    answer = client.post(PAGE, {**CONFIRMED, "channel": channel}, follow=True)
    return " ".join(str(message) for message in answer.context["messages"])


def outcome() -> Any:
    entry = AuditEntry.objects.get(action="send_test_message")
    assert entry.reason == CONFIRMED["reason"]
    return (entry.new_values or {})["outcome"]


def test_slack_takes_it(operator: Client, slack: Slack) -> None:
    assert 'value="slack"' in operator.get(PAGE).content.decode()
    assert told(operator, "slack") == "Slack took the test message."
    (post,) = slack.posts
    assert "Test message" in post["text"]
    assert outcome() == "delivered"


def test_mail_server_takes_it(operator: Client, mailbox: Mailbox) -> None:
    assert told(operator, "email") == "E-mail took the test message."
    (message,) = mailbox.messages
    assert "Test message" in str(message["subject"])


def test_what_slack_says_no_with_is_told(operator: Client, slack: Slack) -> None:
    slack.status = 403
    assert "The test message was not delivered: Slack answered 403" in told(operator, "slack")
    assert "Slack answered 403" in outcome()


def test_without_a_channel_it_says_what_to_set(operator: Client) -> None:
    assert "No channel is configured" in operator.get(PAGE).content.decode()
    page = operator.post(PAGE, {**CONFIRMED, "channel": "slack"}).content.decode()
    assert "Select a valid choice" in page or "No channel is configured" in page
    assert not AuditEntry.objects.filter(action="send_test_message").exists()


def test_page_of_messages_offers_it_to_operators_only(signed_in: Callable[[str], Client], operator: Client) -> None:
    assert PAGE in operator.get(page_of(Notification)).content.decode()
    support = signed_in("support")
    assert PAGE not in support.get(page_of(Notification)).content.decode()
    assert support.post(PAGE, CONFIRMED).status_code == 403
