"""How it is settled what became of a request: by its answer, or by what Stripe shows."""

from __future__ import annotations

import logging
import time
from datetime import timedelta

from django.db import Error, transaction
from django.db.models import F
from django.db.models.functions import Now

from billing.models import StripeRequest, WebhookEvent
from billing.stripe.errors import PermanentError, TransientError
from billing.stripe.events import event_object
from billing.stripe.requests.acts import ACTS
from billing.stripe.unstorable import MISREAD
from glyphforge.audit import acting_as, record
from glyphforge.database.clock import database_time
from glyphforge.errors import LeftOut, Refused
from glyphforge.text import cut

logger = logging.getLogger(__name__)

State = StripeRequest.State
LONGEST_ANSWER = 2_000
# Longer than an answer takes: whoever asked is gone, or has lost it.
ANSWERED_WITHIN = timedelta(minutes=1)
# Longer than a request can be on its way: what Stripe does not show by then was not made.
SHOWN_WITHIN = timedelta(minutes=5)
# The sweep shares its job with the events, which must not wait for a Stripe that is slow.
SWEEP_SECONDS = 20
SEEN = "Its answer was lost; Stripe shows that it was made."
UNSEEN = "Stripe did not answer, and does not show it: it was not made."


def settle(request: StripeRequest, state: State, *, answer: str = "", answer_id: str | None = None) -> StripeRequest:
    """Write what became of a request, and with the first word of an effect its audit row; returns the row as it is.

    What is done stays done, and what was refused stays so unless it turns out to be done; what Stripe showed before its
    answer came has the answer after all. One that may have been made and was not gets an audit row that says so.
    """
    with transaction.atomic():
        row = StripeRequest.objects.select_for_update().get(pk=request.pk)
        if row.state == State.DONE and not (row.answer and state == State.DONE):
            return row
        if row.state == State.REFUSED and state != State.DONE:
            return row
        if state == State.REFUSED and row.audit_id is not None:
            _record(row, f"{row.kind}_not_made", reason=answer)
        elif state != State.REFUSED and (row.audit_id is None or row.state == State.REFUSED):
            with acting_as(actor=row.actor, kind="staff"):
                row.audit_id = _record(row, row.kind, reason=row.reason)
        row.state, row.answer, row.answer_id = state, cut(answer, LONGEST_ANSWER), answer_id
        row.settled_at = None if row.is_open else database_time()
        row.save(update_fields=["state", "answer", "answer_id", "audit_id", "settled_at"])
    return row


def _record(row: StripeRequest, action: str, *, reason: str) -> int:
    values = row.parameters | {"stripe_request": str(row.pk)}
    return record(action, table_name=ACTS[row.kind].table, row_id=row.row_id, reason=reason, new_values=values)


def look(request: StripeRequest) -> StripeRequest:
    """Ask Stripe what became of an open request, and settle it where that is sure; returns the row as it is.

    Raises TransientError or PermanentError where Stripe cannot be asked.
    """
    act = ACTS[request.kind]
    StripeRequest.objects.filter(pk=request.pk).update(looked_at=Now())
    found = act.look(request)
    if found is None and database_time() - request.asked_at >= SHOWN_WITHIN:
        if not act.is_repeated(request):
            return settle(request, State.REFUSED, answer=UNSEEN)
        try:
            found = act.make(request, act.prepare(request))
        except (PermanentError, Refused) as error:
            return settle(request, State.REFUSED, answer=str(error))
    if found is not None:
        return settle(request, State.DONE, answer=SEEN, answer_id=found)
    return StripeRequest.objects.get(pk=request.pk)


def sweep() -> int:
    """Look at Stripe for every request that is open for a minute, and so unknown; returns how many were settled.

    The one that was looked at longest ago comes first, for up to 20 seconds. Raises LeftOut, when the others were
    looked at, with those that cannot be settled; of one that Stripe cannot tell now a check warns after an hour.
    """
    until = time.monotonic() + SWEEP_SECONDS
    late = StripeRequest.objects.filter(state__in=StripeRequest.OPEN, asked_at__lt=Now() - ANSWERED_WITHIN)
    settled = 0
    left = []
    for request in late.order_by(F("looked_at").asc(nulls_first=True), "asked_at").select_related("user"):
        if time.monotonic() > until:
            break
        try:
            with acting_as(actor="job", kind="system", reason="sweep"):
                settle(request, State.UNKNOWN, answer=request.answer)
                settled += not look(request).is_open
        except TransientError:
            logger.warning("%s: Stripe cannot say now what became of it", request, exc_info=True)
        except (PermanentError, Error, *MISREAD) as error:
            logger.warning("%s: cannot be settled", request, exc_info=True)
            left.append(f"{request}: {error}")
    if left:
        raise LeftOut(left, done=settled)
    return settled


def settle_by_event(event_id: str) -> None:
    """Look at Stripe for the open requests about what the event, which was processed, is about.

    What cannot be looked at now is left to the sweep.
    """
    if not StripeRequest.objects.filter(state__in=StripeRequest.OPEN).exists():
        return
    event = WebhookEvent.objects.get(stripe_event_id=event_id)
    about = event_object.of_event(event.event_type, event.payload)
    if about is None:
        return
    named = {about.object_id, event_object.identifier(about.payload.get("charge"))}
    for request in StripeRequest.objects.filter(state__in=StripeRequest.OPEN, stripe_object_id__in=named - {None}):
        try:
            with acting_as(actor="stripe", kind="system", reason=event.event_type, request_id=event_id):
                look(request)
        except (TransientError, PermanentError):
            logger.warning("%s: not settled by %s", request, event_id, exc_info=True)
