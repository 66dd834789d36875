"""What staff did about the overdue invoices of the synthetic customers, in the days before."""

import random
from datetime import datetime, timedelta

from billing.models import CustomerNote, OpenInvoice, PaymentCase, PaymentReminder
from demo.seed.identities import WORD, whole_seconds

STAFF = ("support", "billing_lead")
NOTES = (
    "Called: the card was replaced, the new one comes next week.",
    "Out of office until Monday; wrote to accounting as well.",
    "Says the bank blocks payments abroad, and has it lifted.",
)


def write(rng: random.Random, now: datetime) -> None:
    """Give half of the overdue invoices an owner, and some of those a reminder, a note or time to pay."""
    cases, reminders, notes = [], [], []
    known = PaymentCase.objects.values("stripe_invoice_id")  # of people who were made before
    fresh = OpenInvoice.objects.exclude(stripe_invoice_id__in=known).select_related("user")
    for invoice in fresh.order_by("stripe_invoice_id")[::2]:
        owner = rng.choice(STAFF)
        at = whole_seconds(now - (now - invoice.created_at) * rng.random())
        case = PaymentCase(stripe_invoice_id=invoice.stripe_invoice_id, user=invoice.user, owner=owner, created_at=at)
        if rng.random() < 0.3:
            case.extended_until_on = now.date() + timedelta(days=rng.randint(2, 12))
            case.extended_by, case.extended_at, case.extension_reason = owner, at, "Asked for time until payday."
        cases.append(case)
        if rng.random() < 0.7:
            sent = {"state": PaymentReminder.State.SENT, "asked_at": at, "settled_at": at}
            token = "".join(rng.choices(WORD, k=22))
            reminders.append(
                PaymentReminder(
                    stripe_invoice_id=invoice.stripe_invoice_id,
                    user=invoice.user,
                    email=invoice.user.email or "",
                    token=token,
                    actor=owner,
                    reason="Second try failed.",
                    **sent,
                )
            )
        else:
            notes.append(CustomerNote(user=invoice.user, author=owner, body=rng.choice(NOTES), created_at=at))
    PaymentCase.objects.bulk_create(cases)
    PaymentReminder.objects.bulk_create(reminders)
    CustomerNote.objects.bulk_create(notes)
