"""Reconciliation: ingest the events that never arrived, then compare everything with Stripe.

A run goes page by page through five phases and commits after each page, so it can stop at any
point, when its budget of requests is used up or its process dies, and go on where it was.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any

from django.db import transaction
from django.db.models import Q
from django.utils import timezone

from billing.models import Difference, ReconciliationRun, Subscription, User, WebhookEvent
from billing.stripe import gateway
from billing.stripe.errors import MissingError, PermanentError, TransientError, UnlinkedCustomerError
from billing.stripe.events import inbox, processing
from billing.stripe.events.event_object import identifier
from billing.stripe.objects import Customer, Event
from billing.stripe.projection import users
from billing.stripe.reconciliation import comparison, discrepancies, repair
from billing.stripe.reconciliation.comparison import Finding

logger = logging.getLogger(__name__)

Phase = ReconciliationRun.Phase
Status = ReconciliationRun.Status
REQUEST_BUDGET = 5_000
# Stripe lists events for 30 days; what is older is found by comparing.
EVENTS_KEPT = timedelta(days=30)
# Stripe may list an event a little after the second that it carries.
OVERLAP = timedelta(hours=1)
# Without a sign of life for this long a run's process is taken for dead.
STALLED_AFTER = timedelta(minutes=15)
# About what an event that is ingested, or a customer that is repaired, costs.
REQUESTS_PER_ITEM = 4

PHASES = (Phase.EVENTS, Phase.CUSTOMERS, Phase.SUBSCRIPTIONS, Phase.CHARGES, Phase.UNSEEN)
LISTED = {
    Phase.CUSTOMERS: ("customer", {}),
    Phase.SUBSCRIPTIONS: ("subscription", {"status": "all"}),
    Phase.CHARGES: ("charge", {}),
}


def open_run(
    *, ingest: bool, repair: bool, actor: str, reason: str, budget: int = REQUEST_BUDGET
) -> ReconciliationRun | None:
    """The unfinished run of the same kind with a new budget, or a new one; None while another is under way.

    `budget` is in requests to Stripe. A run without a sign of life for 15 minutes is not under way any more. Events are
    looked for since the last run that ingested them, at most 30 days back: https://docs.stripe.com/api/events/list
    """
    now = timezone.now()
    with transaction.atomic():
        unfinished = ReconciliationRun.objects.select_for_update().exclude(status=Status.FINISHED)
        if unfinished.filter(status=Status.RUNNING, updated_at__gt=now - STALLED_AFTER).exists():
            return None
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
        created.refresh_from_db()
        return created


def _cursor() -> Any:
    """From when on events may be missing: where the last run that ingested them began to look."""
    oldest = timezone.now() - EVENTS_KEPT
    done = ReconciliationRun.objects.filter(ingest=True).exclude(phase=Phase.EVENTS)
    last = done.order_by("-events_until").values_list("events_until", flat=True).first()
    return max(oldest, last - OVERLAP) if last else oldest


def advance(
    run: ReconciliationRun,
    *,
    seconds: float | None = None,
    progress: Callable[[ReconciliationRun], None] | None = None,
) -> None:
    """Work on `run` until it is finished, budget or `seconds` are used up, or Stripe fails.

    The run's `status` says which: finished, paused or failed, with the `error`. `progress` is called after each page.
    Any other exception is noted in the run and raised.
    """
    until = None if seconds is None else time.monotonic() + seconds
    try:
        while run.status == Status.RUNNING:
            before = gateway.requests_made()
            if run.requests >= run.request_budget or (until is not None and time.monotonic() >= until):
                run.status = Status.PAUSED
            else:
                _step(run)
            run.requests += gateway.requests_made() - before
            run.save()
            if progress:
                progress(run)
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


def _step(run: ReconciliationRun) -> None:
    if run.phase == Phase.EVENTS:
        _events_page(run)
    elif run.phase == Phase.UNSEEN:
        _unseen_batch(run)
    else:
        _objects_page(run, *LISTED[Phase(run.phase)])


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


def _events_page(run: ReconciliationRun) -> None:
    since = int(run.events_from.timestamp())
    items, more = _page(run, "event", created={"gte": since})
    ids = [item["id"] for item in items]
    known = set(
        WebhookEvent.objects.filter(stripe_event_id__in=ids)
        .exclude(payload={})
        .values_list("stripe_event_id", flat=True)
    )
    missing: list[Event] = [gateway.as_json(item) for item in items if item["id"] not in known]
    run.missing_events += len(missing)
    for event in missing:
        if run.ingest:
            inbox.store(event)
            processing.process(event["id"])
        else:
            item = event["data"]["object"]
            customer_id = identifier(item.get("customer"))
            finding = Finding(
                Difference.Kind.MISSING_LOCALLY, "event", event["id"], customer_id, stripe_value=event["type"]
            )
            run.differences_found += discrepancies.report(run, [finding])
    discrepancies.close(
        Q(object_kind="event", stripe_id__in=known | (set(ids) if run.ingest else set())), Difference.Status.GONE
    )
    run.compared += len(items)
    _advance_position(run, items, more)


def _objects_page(run: ReconciliationRun, kind: str, filters: dict[str, str]) -> None:
    items, more = _page(run, kind, **filters)
    found: list[Finding] = []
    for item in map(gateway.as_json, items):
        found += comparison.COMPARE[kind](item)
        if kind == "customer":
            _remember_unmatched(item)
    with transaction.atomic():
        discrepancies.mark_seen(run, [item["id"] for item in items])
        _report(run, kind, [item["id"] for item in items], found)
    run.compared += len(items)
    _advance_position(run, items, more)


def _report(run: ReconciliationRun, kind: str, compared: list[str], found: list[Finding]) -> None:
    """Report and, if asked, repair what was found; what was open for these objects and is found no more is gone."""
    run.differences_found += discrepancies.report(run, found)
    outdated = Q(object_kind=kind, stripe_id__in=compared) & ~Q(run=run)
    discrepancies.close(outdated, Difference.Status.GONE)
    if run.repair and found:
        fresh = Difference.objects.filter(run=run, status=Difference.Status.OPEN, object_kind=kind)
        run.repaired += repair.repair(fresh.filter(stripe_id__in=compared))


def _remember_unmatched(customer: Customer) -> None:
    """Put a customer that nobody may link by himself before support, once."""
    if User.objects.filter(stripe_customer_id=customer["id"]).exists():
        return
    try:
        users.find_or_new(customer)
    except UnlinkedCustomerError as error:
        repair.remember_unmatched(error)


def _unseen_batch(run: ReconciliationRun) -> None:
    limit = _page_limit(run)
    batch = discrepancies.unseen(run, limit)
    for kind, stripe_id in batch:
        found = _retrieve_unseen(kind, stripe_id)
        with transaction.atomic():
            discrepancies.mark_seen(run, [stripe_id])
            _report(run, kind, [stripe_id], found)
    run.compared += len(batch)
    if len(batch) < limit:
        _report_orphans(run)
        discrepancies.close(~Q(run=run), Difference.Status.GONE)
        discrepancies.clear_seen(run)
        run.status, run.finished_at = Status.FINISHED, timezone.now()


def _retrieve_unseen(kind: str, stripe_id: str) -> list[Finding]:
    """Stripe's lists leave out what was deleted: only asking for it tells gone from unknown."""
    try:
        return comparison.COMPARE[kind](gateway.as_json(gateway.retrieve(kind, stripe_id)))
    except MissingError:
        owner = comparison.owner(kind, stripe_id)
        return [
            Finding(
                Difference.Kind.MISSING_AT_STRIPE,
                kind,
                stripe_id,
                owner.stripe_customer_id if owner else None,
                owner.pk if owner else None,
                local_value="known locally",
            )
        ]


def _report_orphans(run: ReconciliationRun) -> None:
    """Users of a customer whom no subscription, not even the free one, entitles to anything."""
    live = Subscription.objects.filter(status__in=Subscription.LIVE, is_duplicate=False)
    orphans = User.objects.filter(stripe_customer_id__isnull=False).exclude(status=User.Status.DELETED)
    found = [
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
    _report(run, "customer", [finding.stripe_id for finding in found], found)
