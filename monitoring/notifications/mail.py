"""Messages by e-mail: plain text and HTML, to the address in ALERT_EMAIL."""

import logging
from collections.abc import Sequence
from smtplib import SMTPDataError, SMTPException, SMTPRecipientsRefused, SMTPResponseException
from uuid import UUID

from django.conf import settings
from django.core.mail import EmailMultiAlternatives
from django.template.loader import render_to_string

from glyphforge.database import installation
from monitoring.models import Notification
from monitoring.notifications import Undelivered, links

LONGEST_SUBJECT = 150

logger = logging.getLogger(__name__)


def send(*, subject: str, text: str, html: str, delivery_id: UUID) -> None:
    """Send a message to `ALERT_EMAIL`; raises `Undelivered`.

    A second try has the same Message-ID, so that mail clients show it once. A subject is cut at 150 characters. From a
    copy of production nothing is sent.
    """
    if not installation.is_production():
        raise Undelivered(installation.COPY)
    domain = settings.DEFAULT_FROM_EMAIL.rpartition("@")[2].rstrip(">") or "localhost"
    mail = EmailMultiAlternatives(
        subject=" ".join(subject.split())[:LONGEST_SUBJECT],
        body=text,
        to=[settings.ALERT_EMAIL],
        headers={"Message-ID": f"<{delivery_id}@{domain}>", "Auto-Submitted": "auto-generated"},
    )
    mail.attach_alternative(html, "text/html")
    try:
        mail.send()
    except SMTPResponseException as error:  # of a 4xx the server says itself that it is for now
        said = error.smtp_error.decode(errors="replace") if isinstance(error.smtp_error, bytes) else error.smtp_error
        raise Undelivered(
            f"the mail server did not take it: {error.smtp_code} {said}",
            channel_is_up=isinstance(error, SMTPDataError) and error.smtp_code >= 500,
        ) from error
    except SMTPRecipientsRefused as error:
        codes = ", ".join(str(code) for code, _ in error.recipients.values())
        raise Undelivered(f"the mail server did not take it: the address in ALERT_EMAIL is refused, {codes}") from error
    except (OSError, SMTPException) as error:
        logger.warning("The mail server was not reached: %s", type(error).__name__)
        raise Undelivered("the mail server did not take it: it was not reached") from error


def alerts(notifications: Sequence[Notification], title: str, lines: Sequence[str], delivery_id: UUID) -> None:
    """Send a message about one alert or a summary of many; raises `Undelivered`.

    `lines` says in words what each of the notifications does, in their order; the first 100 are shown, the rest
    counted.
    """
    shown = [
        {
            "line": line,
            "resolved": notification.kind == Notification.Kind.RESOLVED,
            "severity": notification.severity,
            "remediation": notification.alert.remediation if notification.alert else "",
            "url": links.absolute(links.page(notification.alert)) if notification.alert else "",
            "fix": links.absolute(links.fix(notification.alert)) if notification.alert else "",
        }
        for notification, line in list(zip(notifications, lines, strict=True))[:100]
    ]
    context = {
        "title": title,
        "alerts": shown,
        "hidden": len(lines) - len(shown),
        "inbox": links.absolute(links.inbox()),
    }
    send(
        subject=f"[Glyph Forge] {title}",
        text=render_to_string("monitoring/mail/alerts.txt", context),
        html=render_to_string("monitoring/mail/alerts.html", context),
        delivery_id=delivery_id,
    )
