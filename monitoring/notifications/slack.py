"""Messages to Slack's incoming webhook: Block Kit for people, plain text for notifications and screen readers.

Limits: https://docs.slack.dev/reference/block-kit/blocks (50 blocks, 3,000 characters a section, 150 a header).
"""

import json
import logging
from collections.abc import Sequence
from http.client import HTTPException
from typing import Any
from urllib.error import HTTPError
from urllib.request import HTTPRedirectHandler, Request, build_opener

from django.conf import settings

from glyphforge.audit.masking import mask_values
from glyphforge.database import installation
from glyphforge.rows import Json
from monitoring.models import Alert, Notification
from monitoring.notifications import Undelivered, links

logger = logging.getLogger(__name__)

TIMEOUT_SECONDS = 5
MOST_BLOCKS = 50
LONGEST_SECTION = 3000
LONGEST_HEADER = 150
LONGEST_TEXT = 3000
SYMBOLS = {Alert.Severity.CRITICAL: ":red_circle:", Alert.Severity.WARNING: ":large_yellow_circle:"}
RESOLVED = ":white_check_mark:"

# What Slack answers to a payload that it cannot read; it takes the next one.
REFUSALS = {400, 413}


def escape(text: str) -> str:
    """Replace Slack's three control characters, `&`, `<` and `>`.

    https://docs.slack.dev/messaging/formatting-message-text#escaping
    """
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def clip(text: str, length: int) -> str:
    """At most `length` characters; never ends inside an escaped character."""
    if len(text) <= length:
        return text
    cut = text[: length - 1]
    ampersand = cut.rfind("&", len(cut) - 4)
    if ampersand != -1 and ";" not in cut[ampersand:]:
        cut = cut[:ampersand]
    return f"{cut}…"


def section(text: str) -> Json:
    """A block of text, which must be escaped and may have Slack's markup; cut at 3,000 characters."""
    return {"type": "section", "text": {"type": "mrkdwn", "text": clip(text, LONGEST_SECTION)}}


def header(text: str) -> Json:
    """A block of large plain text, which must not be escaped; cut at 150 characters."""
    return {"type": "header", "text": {"type": "plain_text", "text": clip(text, LONGEST_HEADER), "emoji": True}}


def context(text: str) -> Json:
    """A block of small print, which must be escaped; cut at 3,000 characters."""
    return {"type": "context", "elements": [{"type": "mrkdwn", "text": clip(text, LONGEST_SECTION)}]}


def buttons(*named: tuple[str, str]) -> Json:
    """A row of buttons, each of a label and a path in the back office that it opens."""
    return {
        "type": "actions",
        "elements": [
            {"type": "button", "text": {"type": "plain_text", "text": label}, "url": links.absolute(path)}
            for label, path in named
        ],
    }


def message(text: str, blocks: Sequence[Json]) -> Json:
    """A payload for `post` within Slack's limits: `text`, which must be escaped, and `blocks`.

    Text is cut at 3,000 characters, blocks beyond the fiftieth are dropped.
    """
    return {"text": clip(text, LONGEST_TEXT), "blocks": list(blocks)[:MOST_BLOCKS]}


def symbol(notification: Notification) -> str:
    """The emoji that stands for the severity, or for the end of the alert."""
    if notification.kind == Notification.Kind.RESOLVED:
        return RESOLVED
    return SYMBOLS.get(Alert.Severity(notification.severity), ":large_blue_circle:")


def one(notification: Notification, title: str) -> Json:
    """Make a message about one alert: what it is, what to do, and where. ValueError without an alert."""
    alert = notification.alert
    if alert is None:
        raise ValueError(f"notification {notification.pk} is about no alert")
    blocks = [
        section(f"{symbol(notification)} *{escape(clip(title, 500))}*\n{escape(clip(notification.said, 2000))}"),
    ]
    if notification.kind != Notification.Kind.RESOLVED and alert.remediation:
        blocks.append(context(f"*What to do:* {escape(clip(alert.remediation, 2000))}"))
    blocks.append(buttons(("Go to the fix", links.fix(alert)), ("Open the alert", links.page(alert))))
    return message(escape(f"{title}: {notification.said}"), blocks)


def many(notifications: Sequence[Notification], title: str, lines: Sequence[str]) -> Json:
    """Make a summary: as many lines as fit, the rest counted. Each line belongs to its notification."""
    blocks = [header(title)]
    text = ""
    shown = 0
    for notification, line in zip(notifications, lines, strict=True):
        entry = f"{symbol(notification)} {escape(clip(line, 300))}\n"
        if len(text) + len(entry) > LONGEST_SECTION:
            blocks.append(section(text))
            text = ""
            if len(blocks) >= 10:  # enough for a person; the inbox has them all
                break
        text += entry
        shown += 1
    if text:
        blocks.append(section(text))
    if shown < len(lines):
        blocks.append(context(f"and {len(lines) - shown:,} more"))
    return message(escape(title), [*blocks, buttons(("Open the inbox", links.inbox()))])


class _NoRedirect(HTTPRedirectHandler):
    """A redirect would be followed without the message, and a proxy's sign-in page would count as delivery."""

    def redirect_request(self, *args: Any, **kwargs: Any) -> None:
        return None


def post(payload: Json) -> None:
    """Send a payload to `SLACK_WEBHOOK_URL`; raises `Undelivered`, with the seconds to wait when Slack names them.

    From a copy of production nothing is sent.

    The errors: https://docs.slack.dev/messaging/sending-messages-using-incoming-webhooks#handling_errors; the wait:
    https://docs.slack.dev/apis/web-api/rate-limits
    """
    if not installation.is_production():
        raise Undelivered(installation.COPY)
    request = Request(  # noqa: S310 - settings accept http and https only
        settings.SLACK_WEBHOOK_URL,
        data=json.dumps(mask_values(payload)).encode(),
        headers={"Content-Type": "application/json; charset=utf-8"},
        method="POST",
    )
    try:
        with build_opener(_NoRedirect).open(request, timeout=TIMEOUT_SECONDS) as response:
            response.read(1000)
    except HTTPError as error:
        wait = error.headers.get("Retry-After", "")
        answer = error.read(200).decode(errors="replace")
        raise Undelivered(
            f"Slack answered {error.code}: {answer}",
            retry_after_seconds=int(wait) if wait.isdigit() else None,
            channel_is_up=error.code in REFUSALS,
        ) from error
    except (OSError, HTTPException) as error:  # no route, no answer in time, no certificate, no HTTP
        cause = getattr(error, "reason", error)
        logger.warning("Slack was not reached: %s", type(cause).__name__)
        raise Undelivered(
            "Slack was not reached: no answer in time." if isinstance(cause, TimeoutError) else "Slack was not reached."
        ) from error
