"""A takeover from its first list to its last: resumable, customer by customer, within a rate.

A preview does the same and takes each transaction back, so that it says what would be done and writes nothing.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import TypeVar

from django.db import IntegrityError, OperationalError, transaction
from django.db.models import F
from psycopg import errors as pg

from billing.models import Backfill, BackfillList, BackfillProblem
from billing.stripe import customer_lock, gateway, listed_rows, mirror
from billing.stripe.backfill import past_of_account
from billing.stripe.backfill.lists import CATALOGUE, LISTS, Listed, Source, by_customer, oldest, page
from billing.stripe.backfill.taking_over import Outcome, take_over
from billing.stripe.errors import BusyError, PermanentError, TransientError
from glyphforge.audit import record
from glyphforge.database.clock import database_time
from glyphforge.text import cut

logger = logging.getLogger(__name__)

T = TypeVar("T")
Status = Backfill.Status
# Seconds before the tries after the first, while Stripe is busy or does not answer.
PAUSES = (1.0, 2.0, 4.0, 8.0, 16.0)
# Two transactions that met in the wrong order, or a row that another writer made first: the second try is alone.
TRIES = 3
# Of a preview, to be read by a person.
CHANGES_KEPT = 50
LONGEST_PROBLEM = 4_000


class Run:
    """One takeover in this process. `lists` and `problems` are its rows, of a preview in memory only."""

    def __init__(self, row: Backfill, *, applies: bool) -> None:
        self.row, self.applies = row, applies
        self.lists = [self._list(source) for source in LISTS]
        self.problems: dict[tuple[str, str], str] = (
            {(each.kind, each.stripe_id): each.problem for each in row.problems.all()} if applies else {}
        )
        self.changes: list[str] = []
        self._counted = gateway.requests_made()

    def _list(self, source: Source) -> BackfillList:
        none_yet = {"listed": 0, "added": 0, "changed": 0}
        if not self.applies:
            return BackfillList(backfill=self.row, kind=source.kind, **none_yet)
        return BackfillList.objects.get_or_create(backfill=self.row, kind=source.kind, defaults=none_yet)[0]

    def advance(self, progress: Callable[[BackfillList, int], None]) -> None:
        """Work until all lists are done; `progress` is called with a list and its objects since the last call.

        The row's `status` says how it ended. What Stripe or the database does to it is its `error`; anything else is
        noted there and raised. Either way the next run of it goes on behind the last page that was worked through.
        """
        try:
            if self.applies:
                mirror.with_catalogue(lambda: mirror.require_catalogue([]))
            for source, state in zip(LISTS, self.lists, strict=True):
                while state.finished_at is None:
                    done = self._page(source, state)
                    progress(state, done)
            self._finish()
        except (TransientError, PermanentError, OperationalError) as error:
            logger.warning("the takeover stopped: %s", error)
            self._save(Status.FAILED, str(error))
        except BaseException as error:
            self._save(Status.FAILED, f"{type(error).__name__}: {error}")
            raise

    def _page(self, source: Source, state: BackfillList) -> int:
        asked = listed_rows.moment_of_asking()
        items, more = _patiently(lambda: page(source, state))
        groups = [(None, items)] if source.kind in CATALOGUE else by_customer(items)
        for customer_id, mine in groups:
            self._add(state, self._of_customer(state, customer_id, mine, asked))
        state.listed += len(items)
        if items:
            state.position, state.created_at = items[-1].item["id"], oldest(items) or state.created_at
        if not more:
            state.finished_at = database_time()
        if self.applies:
            with transaction.atomic():
                state.save(update_fields=["listed", "position", "created_at", "finished_at"])
                self._save(Status.RUNNING)
        return len(items)

    def _of_customer(self, state: BackfillList, customer_id: str | None, mine: list[Listed], asked: str) -> Outcome:
        """Take over what is one customer's in a transaction of its own; whose turn it is not is left for a person."""

        def once() -> Outcome:
            with transaction.atomic():
                if customer_id:
                    customer_lock.acquire(customer_id)
                outcome = take_over(state.kind, mine, asked)
                if self.applies:
                    self._count(state, outcome)
                else:
                    transaction.set_rollback(True)
                return outcome

        try:
            return _patiently(lambda: _alone(once))
        except BusyError as error:
            outcome = Outcome(problems={(state.kind, each.item["id"]): str(error) for each in mine})
            if self.applies:
                self._count(state, outcome)
            return outcome

    def _count(self, state: BackfillList, outcome: Outcome) -> None:
        """Write what came of it with it: a kill loses both or none."""
        if outcome.added or outcome.changed:
            BackfillList.objects.filter(pk=state.pk).update(
                added=F("added") + outcome.added, changed=F("changed") + outcome.changed
            )
        BackfillProblem.objects.bulk_create(
            [
                BackfillProblem(backfill=self.row, kind=kind, stripe_id=stripe_id, problem=cut(text, LONGEST_PROBLEM))
                for (kind, stripe_id), text in outcome.problems.items()
            ],
            ignore_conflicts=True,
        )

    def _add(self, state: BackfillList, outcome: Outcome) -> None:
        state.added += outcome.added
        state.changed += outcome.changed
        self.changes += outcome.changes[: CHANGES_KEPT - len(self.changes)]
        self.problems |= outcome.problems

    def _finish(self) -> None:
        with transaction.atomic():
            if self.applies and any(state.added or state.changed for state in self.lists):
                past_of_account.send(sender=None)
            self.row.finished_at = database_time()
            self._save(Status.FINISHED)

    def _save(self, status: str, error: str | None = None) -> None:
        made = gateway.requests_made()
        self.row.requests += made - self._counted
        self._counted = made
        self.row.status, self.row.error = status, error and cut(error, LONGEST_PROBLEM)
        if self.applies:
            self.row.save(update_fields=["status", "error", "requests", "finished_at"])


def opened(*, applies: bool, anew: bool, actor: str, reason: str) -> Run:
    """The takeover that was interrupted, or a new one with its audit row; a preview is always new.

    The caller is the one who takes over (`holder.held`), so whatever else is said to be running died.
    """
    if not applies:
        return Run(Backfill(status=Status.RUNNING, requests=0, actor=actor, reason=reason), applies=False)
    with transaction.atomic():
        unfinished = Backfill.objects.select_for_update().exclude(status=Status.FINISHED)
        row = None if anew else unfinished.order_by("-started_at").first()
        if row is None:
            unfinished.update(status=Status.FINISHED, error="Another one was begun.", finished_at=database_time())
            row = Backfill.objects.create(actor=actor, reason=reason)
            row.refresh_from_db()
            record("backfill", table_name="stripe_backfills", row_id=row.pk, reason=reason)
    return Run(row, applies=True)


def _patiently(work: Callable[[], T]) -> T:
    """Do `work` again while Stripe does not answer; another customer's turn is not waited for twice."""
    for pause in PAUSES:
        try:
            return work()
        except BusyError:
            raise
        except TransientError as error:
            logger.warning("%s Once more in %.0f s.", error, error.retry_after or pause)
            time.sleep(error.retry_after or pause)
    return work()


def _alone(work: Callable[[], T]) -> T:
    for _ in range(TRIES - 1):
        try:
            return work()
        except (IntegrityError, OperationalError) as error:
            if not isinstance(error.__cause__, pg.DeadlockDetected | pg.UniqueViolation | pg.LockNotAvailable):
                raise
    return work()
