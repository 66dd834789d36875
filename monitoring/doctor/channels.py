"""Slack and e-mail: whether they are reached and, when told to, whether a message gets through."""

import socket
from collections.abc import Iterator
from smtplib import SMTPException
from urllib.parse import urlsplit
from uuid import uuid4

from django.conf import settings
from django.core.mail import get_connection

from monitoring.doctor.finding import Finding, critical, ok
from monitoring.notifications import Undelivered, mail
from monitoring.notifications import slack as slack_channel

CONNECT_SECONDS = 5
TEXT = "A test by manage.py doctor: alerts of the billing back office reach this place."


def slack(*, send: bool) -> Iterator[Finding]:
    """Reach the host of `SLACK_WEBHOOK_URL`; with `send`, post a message there."""
    if not settings.SLACK_WEBHOOK_URL:
        yield ok("not configured")
        return
    fix = "set SLACK_WEBHOOK_URL to the address that Slack shows at the app's Incoming Webhooks"
    address = urlsplit(settings.SLACK_WEBHOOK_URL)
    port = address.port or (443 if address.scheme == "https" else 80)
    try:
        if send:
            slack_channel.post(slack_channel.message(TEXT, [slack_channel.section(TEXT)]))
        else:
            socket.create_connection((str(address.hostname), port), timeout=CONNECT_SECONDS).close()
    except Undelivered as problem:
        yield critical(str(problem), fix)
    except OSError as error:
        yield critical(f"{address.hostname}:{port} is not reached: {error}", f"let this machine reach it, or {fix}")
    else:
        yield ok("took a message" if send else f"{address.hostname} is reached; --send tries a message")


def email(*, send: bool) -> Iterator[Finding]:
    """Sign in at the mail server of `EMAIL_URL`; with `send`, mail `ALERT_EMAIL` a message."""
    if not settings.ALERT_EMAIL:
        yield ok("not configured")
        return
    try:
        if send:
            mail.send(subject="[Glyph Forge] Test", text=TEXT, html=f"<p>{TEXT}</p>", delivery_id=uuid4())
        else:
            with get_connection(timeout=CONNECT_SECONDS) as server:
                server.open()
    except (Undelivered, OSError, SMTPException) as problem:
        fix = "set EMAIL_URL=smtp+tls://user:password@host:587 of a mail server that takes messages from here"
        yield critical(f"{settings.EMAIL_HOST}:{settings.EMAIL_PORT}: {problem}", fix)
    else:
        yield ok("the mail server took a message" if send else "the mail server is reached; --send tries a message")
