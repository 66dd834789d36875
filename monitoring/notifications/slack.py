"""Messages to Slack's incoming webhook: Block Kit for people, plain text for notifications and screen readers.

Limits: https://docs.slack.dev/reference/block-kit/blocks (50 blocks, 3,000 characters a section, 150 a header).
"""

import json
from collections.abc import Sequence
from http.client import HTTPException
from typing import Any
from urllib.error import HTTPError
from urllib.request import HTTPRedirectHandler, Request, build_opener

from django.conf import settings

from monitoring.alerts import links
from monitoring.alerts.channel import Undelivered
from monitoring.models import Alert, Notification

TIMEOUT_SECONDS = 5
MOST_BLOCKS = 50
LONGEST_SECTION = 3000
LONGEST_HEADER = 150
LONGEST_TEXT = 3000
SYMBOLS = {Alert.Severity.CRITICAL: ":red_circle:", Alert.Severity.WARNING: ":large_yellow_circle:"}
RESOLVED = ":white_check_mark:"

# What Slack answers to a payload that it cannot read; it takes the next one.
REFUSALS = {400, 413}

Block = dict[str, Any]


def escape(text: str) -> str:
    """Slack's three control characters."""
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


def section(text: str) -> Block:
    return {"type": "section", "text": {"type": "mrkdwn", "text": clip(text, LONGEST_SECTION)}}


def header(text: str) -> Block:
    return {"type": "header", "text": {"type": "plain_text", "text": clip(text, LONGEST_HEADER), "emoji": True}}


def context(text: str) -> Block:
    return {"type": "context", "elements": [{"type": "mrkdwn", "text": clip(text, LONGEST_SECTION)}]}


def buttons(*named: tuple[str, str]) -> Block:
    return {
        "type": "actions",
        "elements": [
            {"type": "button", "text": {"type": "plain_text", "text": label}, "url": links.absolute(path)}
            for label, path in named
        ],
    }


def message(text: str, blocks: Sequence[Block]) -> dict[str, Any]:
    """A payload within Slack's limits; blocks beyond the fiftieth are dropped."""
    return {"text": clip(text, LONGEST_TEXT), "blocks": list(blocks)[:MOST_BLOCKS]}


def symbol(notification: Notification) -> str:
    if notification.kind == Notification.Kind.RESOLVED:
        return RESOLVED
    return SYMBOLS.get(Alert.Severity(notification.severity), ":large_blue_circle:")


def one(notification: Notification, title: str) -> dict[str, Any]:
    """A message about one alert."""
    alert = notification.alert
    if alert is None:
        raise ValueError(f"notification {notification.pk} is about no alert")
    blocks = [
        section(f"{symbol(notification)} *{escape(clip(title, 500))}*\n{escape(clip(alert.message, 2000))}"),
    ]
    if notification.kind != Notification.Kind.RESOLVED and alert.remediation:
        blocks.append(context(f"*What to do:* {escape(clip(alert.remediation, 2000))}"))
    named = [("Open the alert", links.page(alert))]
    if links.fix(alert) != links.page(alert):
        named.insert(0, ("Go to the fix", links.fix(alert)))
    return message(escape(f"{title}: {alert.message}"), [*blocks, buttons(*named)])


def many(notifications: Sequence[Notification], title: str, lines: Sequence[str]) -> dict[str, Any]:
    """A summary: as many lines as fit, the rest counted."""
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


def post(payload: dict[str, Any]) -> None:
    """Sends a message. Raises `Undelivered`, with the seconds to wait when Slack names them."""
    request = Request(  # noqa: S310 - settings accept http and https only
        settings.SLACK_WEBHOOK_URL,
        data=json.dumps(payload).encode(),
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
        raise Undelivered(f"Slack was not reached: {error}") from error
