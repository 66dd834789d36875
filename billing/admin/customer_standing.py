"""Where a customer stands, in words: what is owed, what is paid next and when, and until when access lasts."""

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any

from billing.models import Entitlement, OpenInvoice, Subscription
from glyphforge.money import money

Status = Subscription.Status
# Months in one of an interval; a year is 365 days where days and weeks are meant.
MONTHS = {"day": 12 / 365, "week": 84 / 365, "month": 1.0, "year": 12.0}
DAYS_A_MONTH = 365 / 12
# https://docs.stripe.com/billing/subscriptions/overview#subscription-statuses
INCOMPLETE_FOR = timedelta(hours=23)
# The live statuses in which Stripe collects nothing, and until when.
NOTHING_BILLED = {
    Status.UNPAID: "nothing: Stripe keeps new invoices as drafts until what is owed is paid",
    Status.PAUSED: "nothing until the subscription is resumed",
}


def outlook(live: Subscription | None) -> str:
    """What becomes of the live subscription, in few words."""
    if live is None:
        return "no live subscription"
    ends = live.current_period_end
    if live.ends_at:
        text = f"ends on {live.ends_at:%Y-%m-%d}"
    elif live.status in NOTHING_BILLED:
        text = f"{live.status}: nothing is collected"
    elif live.collection_paused:
        text = f"collection paused{_until(live.collection_resumes_at)}"
    elif live.status == Status.TRIALING and live.trial_end:
        text = f"trial ends on {live.trial_end:%Y-%m-%d}"
    elif not live.stripe_subscription_id or ends is None:
        text = "does not renew"
    elif live.status == Status.PAST_DUE:
        text = f"past due, in the period until {ends:%Y-%m-%d}"
    else:
        text = f"renews on {ends:%Y-%m-%d}"
    return text


def standing(live: Subscription, entitlement: Entitlement | None, invoices: Sequence[Any]) -> list[tuple[str, str]]:
    """`(name, value)`: what is owed, what comes next and how long access lasts.

    `invoices` are the customer's own, each with `reason`, why the last try failed.
    """
    shown = [("Owes", owed(invoices)), ("Pays next", _next_payment(live, invoices))]
    shown.append(("Access", _access(live, entitlement, invoices)))
    if live.stripe_schedule_id:
        shown.append(("Changes", f"managed by a schedule at Stripe, {live.stripe_schedule_id}"))
    return shown


def owed(invoices: Iterable[Any]) -> str:
    """The sum of what is open by currency, since when, and when Stripe tries again; what was given up beside it."""
    all_of = list(invoices)
    due = [row for row in all_of if row.status == OpenInvoice.Status.OPEN]
    given_up = [row for row in all_of if row.status == OpenInvoice.Status.UNCOLLECTIBLE]
    parts = []
    if due:
        late = min((row.overdue_since for row in due if row.overdue_since), default=None)
        text = _sum(due) + (f", overdue since {late:%Y-%m-%d}" if late else ", not due yet")
        why = next((row.reason for row in reversed(due) if row.reason), None)
        tries = max(row.attempt_count for row in due)
        if tries:
            text += f", {tries} {'try' if tries == 1 else 'tries'} failed{f' ({why})' if why else ''}"
        again = min((row.next_attempt_at for row in due if row.next_attempt_at), default=None)
        to_pay = min((row.due_at for row in due if row.due_at and not row.overdue_since), default=None)
        if again:
            text += f", next try on {again:%Y-%m-%d %H:%M} UTC"
        elif to_pay:
            text += f", to be paid until {to_pay:%Y-%m-%d}"
        elif tries:
            text += ", no further try"
        parts.append(text)
    if given_up:
        parts.append(f"{_sum(given_up)} given up as uncollectible")
    return "; ".join(parts) or "nothing"


def _sum(invoices: Iterable[OpenInvoice]) -> str:
    totals: dict[str, int] = {}
    for row in invoices:
        totals[row.currency] = totals.get(row.currency, 0) + row.amount_due_cents
    return " + ".join(money(cents, currency) for currency, cents in sorted(totals.items()))


def _next_payment(live: Subscription, invoices: Sequence[OpenInvoice]) -> str:
    """What is charged next beside what is owed; worked out from price and period, which know no usage and no credit."""
    drafts = [row for row in invoices if row.status == OpenInvoice.Status.DRAFT]
    due = live.trial_end if live.status == Status.TRIALING and live.trial_end else live.current_period_end
    if live.status in NOTHING_BILLED:
        text = NOTHING_BILLED[Status(live.status)]
    elif live.collection_paused:
        kept = f"; drafts of {_sum(drafts)} wait" if drafts else ""
        text = f"nothing{_until(live.collection_resumes_at)}: collection is paused{kept}"
    elif drafts:
        at = min((row.next_attempt_at for row in drafts if row.next_attempt_at), default=None)
        text = f"{_sum(drafts)}{f' on {at:%Y-%m-%d %H:%M} UTC' if at else ''}, an invoice that is being made"
    elif not live.stripe_subscription_id or due is None:
        text = "nothing"
    elif live.ends_at and live.ends_at <= due:
        text = "nothing: it ends before"
    else:
        text = f"{_of_a_period(live)} on {due:%Y-%m-%d}, before taxes and usage"
    return text


def _of_a_period(live: Subscription) -> str:
    """What a billing period costs. Of the price only a month's is known, so that of other periods it may be rounded."""
    months = MONTHS[live.interval]
    start, end = live.current_period_start, live.current_period_end
    if start and end and live.status != Status.TRIALING:  # a trial is no period of the price
        months *= max(1, round((end - start).days / (DAYS_A_MONTH * months)))
    about = "" if months == 1 else "about "
    return about + money(round(live.price_cents * months), live.currency)


def _access(live: Subscription, entitlement: Entitlement | None, invoices: Sequence[OpenInvoice]) -> str:
    ends = live.current_period_end
    if entitlement and not entitlement.is_entitled:
        status, plan = live.get_status_display().lower(), live.get_tier_display()
        text = f"the free plan's limits: a subscription that is {status} does not entitle to {plan}"
    elif live.ends_at:
        text = f"until {live.ends_at:%Y-%m-%d %H:%M} UTC"
    elif live.status == Status.TRIALING and live.trial_end:
        text = f"until {live.trial_end:%Y-%m-%d %H:%M} UTC, longer once it is paid for"
    elif not live.stripe_subscription_id or ends is None:
        text = "without an end"
    elif live.status == Status.PAST_DUE:
        again = any(row.next_attempt_at for row in invoices if row.status == OpenInvoice.Status.OPEN)
        text = "while Stripe tries to collect" if again else "until Stripe's settings for failed payments end it"
    else:
        text = f"until {ends:%Y-%m-%d}, longer once it is renewed"
    return text


def remarks(row: Subscription) -> list[str]:
    """What else a row of the list says beside status and period."""
    said = []
    if row.status == Status.INCOMPLETE:
        said.append(f"first payment open until {row.created_at + INCOMPLETE_FOR:%Y-%m-%d %H:%M} UTC")
    if row.status == Status.TRIALING and row.trial_end:
        said.append(f"trial ends {row.trial_end:%Y-%m-%d %H:%M} UTC")
    if row.ends_at and row.status in Subscription.LIVE:
        said.append(f"ends {row.ends_at:%Y-%m-%d %H:%M} UTC")
    if row.collection_paused and row.status in Subscription.LIVE:
        said.append(f"collection paused{_until(row.collection_resumes_at)}")
    if row.stripe_schedule_id and row.status in Subscription.LIVE:
        said.append("managed by a schedule")
    if row.canceled_at:
        said.append(f"canceled {row.canceled_at:%Y-%m-%d %H:%M} UTC")
    return said


def _until(moment: datetime | None) -> str:
    return f" until {moment:%Y-%m-%d}" if moment else ""
