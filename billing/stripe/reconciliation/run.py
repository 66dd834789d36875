"""Reconciliation: ingest the events that never arrived, then compare everything with Stripe.

A run goes page by page through six phases, repairs customer by customer and commits after each, so it can stop at any
point, when its budget of requests is used up or its process dies, and go on where it was.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from functools import partial
from typing import Any

from django.db import transaction
from django.db.models import Q

from billing.models import Difference, Payment, ReconciliationRun, Subscription, User, WebhookEvent
from billing.stripe import gateway, mirror
from billing.stripe.errors import (
    BusyError,
    ForeignError,
    MissingError,
    PermanentError,
    TransientError,
    UnlinkedCustomerError,
    UnstorableError,
)
from billing.stripe.events import inbox, processing
from billing.stripe.events.event_object import identifier
from billing.stripe.objects import Customer, Event
from billing.stripe.projection import owners
from billing.stripe.projection.payments import INVOICE_COLUMNS
from billing.stripe.reconciliation import comparison, discrepancies, repair
from billing.stripe.reconciliation.comparison import Finding
from billing.stripe.unstorable import explained
from glyphforge.database.clock import database_time

logger = logging.getLogger(__name__)

Phase = ReconciliationRun.Phase
Status = ReconciliationRun.Status
REQUEST_BUDGET = 5_000
# Stripe lists events for 30 days; what is older is found by comparing.
EVENTS_KEPT = timedelta(days=30)
# Stripe may list an event a little after the second that it carries.
OVERLAP = timedelta(hours=1)
# So many objects in a row for which Stripe does not answer, and it is Stripe that is away.
FAILURES_IN_A_ROW = 3
# About what an event that is ingested, or a customer that is repaired, costs.
REQUESTS_PER_ITEM = 4

PHASES = (
    Phase.EVENTS,
    Phase.CUSTOMERS,
    Phase.SUBSCRIPTIONS,
    Phase.CHARGES,
    Phase.INVOICES,
    Phase.UNSEEN,
)
LISTED = {
    Phase.CUSTOMERS: ("customer", {}),
    Phase.SUBSCRIPTIONS: ("subscription", {"status": "all"}),
    Phase.CHARGES: ("charge", {}),
    Phase.INVOICES: ("invoice", {}),
}


def open_run(*, ingest: bool, repair: bool, actor: str, reason: str, budget: int = REQUEST_BUDGET) -> ReconciliationRun:
    """The unfinished run of the same kind with a new budget, or a new one.

    The caller is the one who reconciles (`holder.held`), so whatever else is said to be running died. `budget` is in
    requests to Stripe. Events are looked for since the last run that ingested them, at most 30 days back:
    https://docs.stripe.com/api/events/list
    """
    now = database_time()
    mirror.note_catalogue()
    with transaction.atomic():
        unfinished = ReconciliationRun.objects.select_for_update().exclude(status=Status.FINISHED)
        unfinished.filter(status=Status.RUNNING).update(status=Status.FAILED, error="Its process died.")
        run = unfinished.filter(ingest=ingest, repair=repair).order_by("-started_at").first()
        if run:
            run.status, run.request_budget, run.error = Status.RUNNING, run.requests + budget, None
            run.save(update_fields=["status", "request_budget", "error"])
            return run
        created = ReconciliationRun.objects.create(
            ingest=ingest,
            repair=repair,
            actor=actor,
            reason=reason,
            request_budget=budget,
            events_from=_cursor(),
            events_until=now,
        )
        created.to_compare = _about_how_many(created)
        created.save(update_fields=["to_compare"])
        created.refresh_from_db()
        return created


def _about_how_many(run: ReconciliationRun) -> int:
    """How many events and objects Stripe will list, if all of them are known here."""
    payments = Payment.objects.filter(stripe_charge_id__isnull=False)
    return (
        WebhookEvent.objects.filter(received_at__gte=run.events_from).count()
        + User.objects.filter(stripe_customer_id__isnull=False).count()
        + Subscription.objects.filter(stripe_subscription_id__isnull=False).count()
        + 2 * payments.count()  # with an invoice each
    )


def _cursor() -> Any:
    """From when on events may be missing: where the last run that ingested them began to look."""
    oldest = database_time() - EVENTS_KEPT
    done = ReconciliationRun.objects.filter(ingest=True).exclude(phase=Phase.EVENTS)
    last = done.order_by("-events_until").values_list("events_until", flat=True).first()
    return max(oldest, last - OVERLAP) if last else oldest


def advance(
    run: ReconciliationRun,
    *,
    seconds: float | None = None,
    progress: Callable[[ReconciliationRun], None] = lambda run: None,
) -> None:
    """Work on `run` until it is finished, budget or `seconds` are used up, or Stripe fails.

    The run's `status` says which: finished, paused or failed, with the `error`. `progress` is called after each page
    and each customer. Any other exception is noted in the run and raised.
    """
    until = None if seconds is None else time.monotonic() + seconds
    work = _Work(run, progress)
    try:
        while run.status == Status.RUNNING:
            if run.requests >= run.request_budget or (until is not None and time.monotonic() >= until):
                run.status = Status.PAUSED
            else:
                work.step()
            work.save()
    except (TransientError, PermanentError) as error:
        _fail(run, str(error))
        logger.warning("reconciliation %s failed: %s", run.pk, error)
    except BaseException as error:
        # Interrupted, or a fault of ours: whoever goes on with the run need not wait until it counts as dead.
        _fail(run, f"{type(error).__name__}: {error}")
        raise


def _fail(run: ReconciliationRun, problem: str) -> None:
    run.status, run.error = Status.FAILED, problem
    run.save(update_fields=["status", "error"])


class _Work:
    """The steps of a run, in this process."""

    def __init__(self, run: ReconciliationRun, progress: Callable[[ReconciliationRun], None]) -> None:
        self.run, self.progress = run, progress
        self.counted = gateway.requests_made()
        self.failures = 0

    def save(self) -> None:
        """Write how far the run is, outside of any customer's transaction."""
        made = gateway.requests_made()
        self.run.requests += made - self.counted
        self.counted = made
        finished = self.run.status == Status.FINISHED
        self.run.to_compare = self.run.compared if finished else max(self.run.to_compare, self.run.compared)
        self.run.save()
        self.progress(self.run)

    def step(self) -> None:
        """Work on one page of the run's phase."""
        if self.run.phase == Phase.EVENTS:
            self._events_page()
        elif self.run.phase == Phase.UNSEEN:
            self._unseen_batch()
        else:
            self._objects_page(*LISTED[Phase(self.run.phase)])

    def _events_page(self) -> None:
        run = self.run
        items, more = _page(run, "event", created={"gte": int(run.events_from.timestamp())})
        ids = [item["id"] for item in items]
        known = set(
            WebhookEvent.objects.filter(stripe_event_id__in=ids)
            .exclude(payload={})
            .values_list("stripe_event_id", flat=True)
        )
        found: list[Finding] = []
        for event in [gateway.as_json(item) for item in items if item["id"] not in known]:
            run.missing_events += 1
            if run.ingest:
                found += _ingest(event)
                self.save()
            else:
                found.append(_missing_event(event))
        self._report("event", ids, found)
        run.compared += len(items)
        _advance_position(run, items, more)

    def _objects_page(self, kind: str, filters: dict[str, str]) -> None:
        items, more = _page(self.run, kind, **filters)
        found: list[Finding] = []
        for item in map(gateway.as_json, items):
            differing = self._patiently(kind, item["id"], partial(comparison.compare, kind, item))
            if kind == "customer" and differing:
                differing += self._patiently(kind, item["id"], partial(_remember_unmatched, item))
            found += differing
        self._report(kind, [item["id"] for item in items], found)
        self.run.compared += len(items)
        _advance_position(self.run, items, more)

    def _unseen_batch(self) -> None:
        run = self.run
        limit = _page_limit(run)
        batch = discrepancies.unseen(run, limit)
        for kind, stripe_id in batch:
            found = self._patiently(kind, stripe_id, partial(_retrieve_unseen, kind, stripe_id))
            self._report(kind, [stripe_id], found)
        run.compared += len(batch)
        if len(batch) < limit:
            self._report("customer", [], _orphans())
            discrepancies.close(~Q(run=run), Difference.Status.GONE)
            discrepancies.clear_seen(run)
            run.status, run.finished_at = Status.FINISHED, database_time()

    def _patiently(self, kind: str, stripe_id: str, compare: Callable[[], list[Finding]]) -> list[Finding]:
        """What `compare` finds; that Stripe did not answer, where it answers for others."""
        try:
            found = compare()
        except TransientError as error:
            self._failed(error)
            return [Finding(Difference.Kind.DIFFERS, kind, stripe_id, note=str(error))]
        self.failures = 0
        return found

    def _failed(self, error: TransientError) -> None:
        self.failures += 1
        if self.failures >= FAILURES_IN_A_ROW:
            raise error

    def _report(self, kind: str, compared: list[str], found: list[Finding]) -> None:
        """Report and, if asked, repair what was found; what was open for these objects and is found no more is gone."""
        run = self.run
        with transaction.atomic():
            if kind != "event":
                discrepancies.mark_seen(run, compared)
            reported = discrepancies.report(run, found)
            outdated = Q(object_kind=kind, stripe_id__in=compared) & ~Q(pk__in=reported)
            if kind == "charge":  # what the invoice says of it comes later
                outdated &= ~Q(field__in=INVOICE_COLUMNS)
            discrepancies.close(outdated, Difference.Status.GONE)
        run.differences_found = run.differences.count()
        if run.repair and kind != "event":
            fresh = Difference.objects.filter(pk__in=reported).order_by("pk")
            for customer_id, mine in repair.by_customer(fresh).items():
                self._repair_customer(customer_id, mine)

    def _repair_customer(self, customer_id: str, mine: list[Difference]) -> None:
        try:
            repair.repair_customer(customer_id, mine, audit=lambda keys: None)
            self.failures = 0
        except TransientError as error:
            discrepancies.explain(Q(pk__in=[row.pk for row in mine]), str(error))
            if not isinstance(error, BusyError):
                self._failed(error)
        self.run.repaired = self.run.differences.filter(status=Difference.Status.REPAIRED).count()
        self.save()


def _ingest(event: Event) -> list[Finding]:
    """Store and process an event that never arrived; says so when it cannot be stored."""
    try:
        with explained(f"event {event['id']}"):
            inbox.store(event)
    except PermanentError as error:
        return [replace(_missing_event(event), note=str(error))]
    processing.process(event["id"])
    return []


def _missing_event(event: Event) -> Finding:
    item = event["data"]["object"]
    customer_id = identifier(item.get("customer"))
    return Finding(Difference.Kind.MISSING_LOCALLY, "event", event["id"], customer_id, stripe_value=event["type"])


def _remember_unmatched(customer: Customer) -> list[Finding]:
    """Put a customer that nobody may link by himself before support, once; there is nothing to report of it."""
    if owners.known(customer["id"]):
        return []
    try:
        with explained(f"customer {customer['id']}"):
            owners.find_or_new(customer)
    except UnlinkedCustomerError as error:
        repair.remember_unmatched(error)
    except (ForeignError, UnstorableError):
        pass  # none of ours, or its comparison has said so
    return []


def _advance_position(run: ReconciliationRun, items: list[Any], more: bool) -> None:
    if items and more:
        run.position = items[-1]["id"]
        return
    run.position = None
    run.phase = PHASES[PHASES.index(Phase(run.phase)) + 1]


def _page(run: ReconciliationRun, kind: str, **filters: Any) -> tuple[list[Any], bool]:
    """The page behind the run's position, or the first one when Stripe forgot what the last page ended with.

    A customer may be deleted between two pages, and an event older than 30 days while a run is paused: comparing
    anew does no harm, and the run would otherwise fail there for ever.
    """
    filters["limit"] = _page_limit(run) if run.ingest or run.repair else None
    if run.position:
        try:
            return gateway.page(kind, **filters, starting_after=run.position)
        except MissingError:
            logger.info("reconciliation %s: %s is gone; its list starts anew", run.pk, run.position)
            run.position = None
    return gateway.page(kind, **filters)


def _page_limit(run: ReconciliationRun) -> int:
    """How many items may be worked on at once so that the budget is not passed by much."""
    costs = REQUESTS_PER_ITEM if run.ingest or run.repair else 1
    return max(1, min(gateway.PAGE_SIZE, (run.request_budget - run.requests) // costs))


def _retrieve_unseen(kind: str, stripe_id: str) -> list[Finding]:
    """Stripe's lists leave out what was deleted: only asking for it tells gone from unknown."""
    try:
        return comparison.compare(kind, gateway.as_json(gateway.retrieve(kind, stripe_id)))
    except MissingError:
        if kind == "invoice":
            return comparison.missing_invoice(stripe_id)
        owner = comparison.owner(kind, stripe_id)
        customer_id = comparison.customer_of(kind, stripe_id)
        return [
            Finding(
                Difference.Kind.MISSING_AT_STRIPE,
                kind,
                stripe_id,
                customer_id,
                owner.pk if owner else None,
                local_value="known locally",
            )
        ]


def _orphans() -> list[Finding]:
    """Users of a customer whom no subscription, not even the free one, entitles to anything."""
    live = Subscription.objects.filter(status__in=Subscription.LIVE, is_duplicate=False)
    orphans = User.objects.filter(stripe_customer_id__isnull=False).exclude(status=User.Status.DELETED)
    return [
        Finding(
            Difference.Kind.DIFFERS,
            "customer",
            str(user.stripe_customer_id),
            user.stripe_customer_id,
            user.pk,
            field="live_subscription",
            stripe_value="free",
        )
        for user in orphans.exclude(pk__in=live.values("user_id"))
    ]
