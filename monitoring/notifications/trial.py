"""A test message: sent at once and outside the outbox, so that whoever asks sees what the channel says."""

from uuid import uuid4

from django.utils import timezone

from glyphforge import audit
from glyphforge.audit.masking import mask
from glyphforge.errors import Refused
from monitoring.models import Notification
from monitoring.notifications import Undelivered, links, mail, routing, slack

Channel = Notification.Channel


def send_test(channel: str, *, actor: str, reason: str) -> None:
    """Send a message that says that it is a test; the audit log keeps what came of it.

    Refuses a channel that is not configured, and with the channel's own words what it did not take.
    """
    if channel not in routing.configured():
        raise Refused(f"{channel}: no such channel is configured; set SLACK_WEBHOOK_URL or ALERT_EMAIL.")
    text = f"Test message of {timezone.now():%Y-%m-%d %H:%M:%S} UTC, sent by {actor}: alerts reach this channel."
    problem = None
    try:
        if channel == Channel.SLACK:
            home = slack.buttons(("Open the inbox", links.inbox()))
            slack.post(slack.message(slack.escape(text), [slack.section(slack.escape(text)), home]))
        else:
            mail.send(subject="[Glyph Forge] Test message", text=text, html=f"<p>{text}</p>", delivery_id=uuid4())
    except Undelivered as error:
        problem = mask(str(error))
    with audit.acting_as(actor=actor, reason=reason):
        outcome = {"outcome": problem or "delivered"}
        audit.record("send_test_message", table_name="notifications", row_id=channel, new_values=outcome)
    if problem:
        raise Refused(f"The test message was not delivered: {problem}")
