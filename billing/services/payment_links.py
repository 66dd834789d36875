"""The e-mail that asks a customer to pay an invoice, with the link to Stripe's page for it.

Stripe sends only the invoices that are not charged by themselves, so this one is ours. Like a request to Stripe it is
written before it is sent, and sent once for each confirmation.
"""

import logging
import uuid
from contextlib import suppress
from datetime import timedelta
from smtplib import SMTPException, SMTPRecipientsRefused, SMTPResponseException

from django.conf import settings
from django.core.mail import EmailMessage, get_connection
from django.db import IntegrityError, transaction
from django.db.models.functions import Now
from django.template.loader import render_to_string

from billing.models import OpenInvoice, PaymentReminder
from billing.services.dunning import audit, named, open_invoice
from billing.stripe.requests.outbox import TOKEN
from glyphforge.audit import acting_as
from glyphforge.database import installation
from glyphforge.database.clock import database_time
from glyphforge.errors import Notice, Refused
from glyphforge.money import money

logger = logging.getLogger(__name__)

State = PaymentReminder.State
# A customer is not written to about the same invoice more often.
APART = timedelta(hours=1)


def send(invoice: OpenInvoice, *, actor: str, reason: str, token: str = "") -> PaymentReminder:
    """Write to the customer with the link to pay the invoice; returns what was sent.

    `token` is the confirmation's: a second call with it sends nothing. Refuses an invoice that is not owed or has no
    page at Stripe, a customer without an address, a second message within an hour, a copy of production, and what the
    mail server refuses. Raises `Notice` when this was asked before, or the server was lost while it took the message.
    """
    if not installation.is_production():
        raise Refused(installation.COPY)
    token = token if TOKEN.fullmatch(token) else uuid.uuid4().hex
    with acting_as(actor=actor, reason=reason):
        if told := recall(token):
            raise Notice(told)
        try:
            with transaction.atomic(durable=True):
                known = open_invoice(invoice)
                _require_sendable(known)
                reminder = PaymentReminder.objects.create(
                    stripe_invoice_id=known.stripe_invoice_id,
                    user=known.user,
                    email=known.user.email or "",
                    token=token,
                    actor=actor,
                    reason=reason,
                )
                audit("send_payment_link", known, reason=reason, to=known.user.email)
        except IntegrityError:  # the same press, written since it was looked for
            raise Notice(recall(token) or "This form was sent before.") from None
        return _carry_out(reminder, known)


def recall(token: str) -> str | None:
    """What became of the message that a confirmation sent before; None where it sent none."""
    known = PaymentReminder.objects.filter(token=token).first()
    if known is None:
        return None
    became = {
        State.ASKED: "it is on its way, or may have arrived",
        State.SENT: "it was sent, once",
        State.REFUSED: f"it was not sent: {known.answer}",
    }[State(known.state)]
    return f"This form was sent before, for a payment link to {known.email}: {became}."


def _require_sendable(invoice: OpenInvoice) -> None:
    if not (invoice.hosted_invoice_url or "").startswith("https://"):
        raise Refused(f"Stripe has no page on which {named(invoice)} could be paid.")
    if not invoice.user.email:
        raise Refused("The customer has no e-mail address.")
    since = database_time() - APART
    last = PaymentReminder.objects.filter(stripe_invoice_id=invoice.stripe_invoice_id, asked_at__gt=since)
    if earlier := last.exclude(state=State.REFUSED).order_by("-asked_at").first():
        raise Refused(
            f"{earlier.actor} sent {earlier.email} the link at {earlier.asked_at:%H:%M} UTC: wait an hour between two."
        )


def _carry_out(reminder: PaymentReminder, invoice: OpenInvoice) -> PaymentReminder:
    server = get_connection()
    try:
        server.open()
    except (OSError, SMTPException) as error:
        raise _refused(reminder, invoice, error) from error
    try:
        server.send_messages([_message(reminder, invoice)])
    except (SMTPResponseException, SMTPRecipientsRefused) as error:
        raise _refused(reminder, invoice, error) from error
    except (OSError, SMTPException) as error:
        logger.warning("payment link %s: the mail server was lost", reminder.pk, exc_info=True)
        raise Notice(
            f"The mail server was lost while it took the message to {reminder.email}: it may have arrived."
        ) from error
    finally:
        with suppress(OSError, SMTPException):  # what it says at its end changes nothing
            server.close()
    return _settle(reminder, State.SENT)


def _refused(reminder: PaymentReminder, invoice: OpenInvoice, error: Exception) -> Refused:
    """Nothing was sent, and `error` says why."""
    answer = _said(error)
    with transaction.atomic():
        _settle(reminder, State.REFUSED, answer)
        audit("send_payment_link_not_made", invoice, reason=answer, to=reminder.email)
    return Refused(f"The message to {reminder.email} was not sent: {answer}.")


def _said(error: Exception) -> str:
    """What the mail server said, in words that may stand on a page."""
    if isinstance(error, SMTPResponseException):
        said = error.smtp_error.decode(errors="replace") if isinstance(error.smtp_error, bytes) else error.smtp_error
        return f"the mail server did not take it, {error.smtp_code} {said}"
    if isinstance(error, SMTPRecipientsRefused):
        codes = ", ".join(str(code) for code, _ in error.recipients.values())
        return f"the mail server refuses the address, {codes}"
    return "the mail server was not reached"


def _settle(reminder: PaymentReminder, state: str, answer: str = "") -> PaymentReminder:
    PaymentReminder.objects.filter(pk=reminder.pk).update(state=state, answer=answer[:2000], settled_at=Now())
    reminder.refresh_from_db()
    return reminder


def _message(reminder: PaymentReminder, invoice: OpenInvoice) -> EmailMessage:
    domain = settings.DEFAULT_FROM_EMAIL.rpartition("@")[2].rstrip(">") or "localhost"
    amount = money(invoice.amount_due_cents, invoice.currency)
    context = {"name": invoice.user.name, "number": named(invoice), "amount": amount, "url": invoice.hosted_invoice_url}
    return EmailMessage(
        subject=" ".join(f"Invoice {named(invoice)}: {amount} to pay".split()),
        body=render_to_string("billing/mail/payment_link.txt", context),
        to=[reminder.email],
        headers={"Message-ID": f"<{reminder.pk}@{domain}>"},
    )
