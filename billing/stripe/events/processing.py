"""Processing of one stored event: claim, bring our rows in line with Stripe, and say how it went.

The attempt is counted in a commit of its own, so that a killed worker is counted too. Everything
that is written because of the event, its completion included, is one transaction.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import timedelta

from django.db import IntegrityError, InterfaceError, OperationalError, transaction
from django.db.models import Value
from django.db.models.functions import Greatest, Now
from psycopg import errors as pg

from billing.models import PlanPrice, StripeCustomer, WebhookEvent
from billing.stripe import gateway, mirror
from billing.stripe.errors import PermanentError, TransientError, UnlinkedCustomerError
from billing.stripe.events import claims, event_object, inbox
from billing.stripe.events.handlers import handle
from billing.stripe.objects import Event
from billing.stripe.reconciliation import repair
from billing.stripe.requests import settling
from glyphforge.audit import acting_as
from glyphforge.database.reconnect import reconnecting

logger = logging.getLogger(__name__)

# A parked event is tried again once a day: the mapping or link that it waits for may have come by psql.
PARKED_FOR = timedelta(hours=24)
# Two transactions that met in the wrong order: the second try is alone.
DEADLOCK_TRIES = 3
# A task whose claim or ending failed is not given out again by the queue: its event would wait to be requeued or for
# the end of its lease. So a broken connection is replaced, after these pauses: a restart of the server takes seconds.
RECONNECT_AFTER_SECONDS = (0.0, 1.0, 5.0)


class LeaseLostError(Exception):
    """Somebody else took the event over: what was written here must not be committed."""


def process(event_id: str) -> str | None:
    """Process one event and return its status afterwards; None when it was not ours to process.

    Never raises for what the event or Stripe did: that is written to the event. A broken database
    connection is replaced; only a database that stays away is raised. `requeue_due` then enqueues the event again.
    """
    if not reconnecting(lambda: claims.claim(event_id), pauses=RECONNECT_AFTER_SECONDS):
        return None
    try:
        status = _without_deadlock(lambda: mirror.with_catalogue(lambda: _apply(event_id)))
    except LeaseLostError:
        logger.warning("%s: the lease ran out and another worker has the event", event_id)
        return None
    except Exception as error:  # noqa: BLE001 - whatever it is, it belongs to this event: the next ones must go on
        failure = error
    else:
        _settle_requests(event_id)
        return status
    return reconnecting(lambda: _fail(event_id, failure), pauses=RECONNECT_AFTER_SECONDS)


def _settle_requests(event_id: str) -> None:
    """Of what we asked Stripe for the event may be the answer; the event is done whatever comes of that."""
    try:
        settling.settle_by_event(event_id)
    except Exception:
        logger.exception("%s: requests to Stripe are left to the sweep", event_id)


def _fail(event_id: str, error: Exception) -> str | None:
    """Write the failure to the event; how long it waits for its next try depends on the kind of error."""
    waits_for: tuple[str, ...] = ()
    match error:
        case PermanentError():
            message, at_least, waits_for = str(error), PARKED_FOR, error.waits_for
        case TransientError():
            message, at_least = str(error), timedelta(seconds=error.retry_after or 0)
        case OperationalError() | InterfaceError() | IntegrityError():
            message, at_least = f"The database could not take it: {_first_line(error)}", timedelta()
        case _:
            logger.error("%s: processing failed", event_id, exc_info=error)
            message, at_least = f"{type(error).__name__}: {_first_line(error)}", timedelta()
    logger.warning("%s: failed: %s", event_id, message)
    with transaction.atomic():
        if isinstance(error, UnlinkedCustomerError):
            repair.remember_unmatched(error)
        status = _record_failure(event_id, message, at_least, waits_for)
    for key in waits_for:
        # It may have come while this event was tried: who brought it could not see yet that the event waits.
        if StripeCustomer.objects.filter(pk=key).exists() or PlanPrice.objects.filter(pk=key).exists():
            inbox.retry_waiting(key)
    return status


def _apply(event_id: str) -> str:
    with transaction.atomic():
        event = WebhookEvent.objects.get(stripe_event_id=event_id)
        if not event.payload:
            _fetch_payload(event)
        with acting_as(actor="stripe", kind="system", reason=event.event_type, request_id=event_id):
            reason = inbox.ignored_because(event.payload) or _foreign_account(event.payload)
            if reason:
                return _ignore(event_id, reason)
            about = event_object.of_event(event.event_type, event.payload)
            if about and (reason := handle(about)):
                return _ignore(event_id, reason)
            if not claims.complete(event_id, None):
                raise LeaseLostError
    return WebhookEvent.Status.PROCESSED


def _fetch_payload(event: WebhookEvent) -> None:
    """An event that was claimed by its id alone: Stripe keeps events for 30 days."""
    payload = gateway.as_json(gateway.retrieve("event", event.stripe_event_id))
    event.payload, event.event_type = payload, payload["type"]
    event.api_version, event.livemode = payload.get("api_version"), payload["livemode"]
    event.save(update_fields=["payload", "event_type", "api_version", "livemode"])


def _foreign_account(payload: Event) -> str | None:
    account = payload.get("account")
    if account and account != gateway.account_id():
        return f"An event of account {account}; this back office handles {gateway.account_id()}."
    return None


def _ignore(event_id: str, reason: str) -> str:
    WebhookEvent.objects.filter(stripe_event_id=event_id, status=WebhookEvent.Status.PROCESSING).update(
        status=WebhookEvent.Status.IGNORED, last_error=reason, processed_at=Now()
    )
    return WebhookEvent.Status.IGNORED


def _record_failure(event_id: str, message: str, at_least: timedelta, waits_for: tuple[str, ...]) -> str | None:
    """Write the failure; the next try comes by the inbox's backoff, but not before `at_least` has passed."""
    if waits_for:
        claimed = WebhookEvent.objects.filter(stripe_event_id=event_id, status=WebhookEvent.Status.PROCESSING)
        claimed.update(waits_for=list(waits_for))
    if not claims.complete(event_id, message):
        return None
    failed = WebhookEvent.objects.filter(stripe_event_id=event_id)
    if at_least:
        failed.filter(status=WebhookEvent.Status.FAILED).update(
            next_retry_at=Greatest("next_retry_at", Now() + Value(at_least))
        )
    return failed.values_list("status", flat=True).get()


def _without_deadlock(action: Callable[[], str]) -> str:
    """Run `action` again when PostgreSQL chose it as the victim: the mirror's rows are shared by customers."""
    for _ in range(DEADLOCK_TRIES - 1):
        try:
            return action()
        except OperationalError as error:
            if not isinstance(error.__cause__, pg.DeadlockDetected | pg.SerializationFailure):
                raise
    return action()


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [""])[0]
