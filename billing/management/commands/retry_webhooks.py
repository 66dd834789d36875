"""Try stored Stripe events again: at once up to 100, in the background beyond."""

import json
from argparse import ArgumentParser
from datetime import UTC, datetime
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.utils.dateparse import parse_datetime
from rich.table import Table

from billing.models import ReplayRun, WebhookEvent
from billing.stripe.events import filter as event_filter
from billing.stripe.events import replay, replay_runs
from billing.stripe.events.filter import EventFilter
from glyphforge.errors import Refused
from glyphforge.observability.terminal import print_table


class Command(BaseCommand):
    """Refuses an id that is not stored, is being processed, or is in another status than those asked for.

    `--json` prints `events`, their number, `found` by type and status, `applied`, `pending` and `replay_run`, the id of
    the run in the background or null.
    """

    help = "Try failed and dead webhook events again. Preview unless --apply."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("ids", nargs="*", metavar="evt_…", help="only these events")
        parser.add_argument("--status", action="append", help="failed and dead unless given; may be repeated")
        parser.add_argument("--type", default="", help="only this event type")
        parser.add_argument("--error", default="", help="only events whose last error contains this text")
        parser.add_argument("--since", help="received at or after this time (ISO 8601, UTC)")
        parser.add_argument("--until", help="received at or before this time (ISO 8601, UTC)")
        parser.add_argument("--rate", type=int, default=replay_runs.EVENTS_PER_MINUTE, help="events a minute")
        parser.add_argument("--apply", action="store_true", help="write; without it nothing changes")
        parser.add_argument("--reason", default="retry_webhooks command", help="kept in the audit log")
        parser.add_argument("--json", action="store_true", help="print JSON")

    def handle(self, *args: Any, **options: Any) -> None:
        if not 1 <= options["rate"] <= replay_runs.MAX_EVENTS_PER_MINUTE:
            raise CommandError(
                f"--rate: between 1 and {replay_runs.MAX_EVENTS_PER_MINUTE} events a minute, not {options['rate']}"
            )
        if not options["reason"].strip():
            raise CommandError(f"--reason: {options['reason']!r} says nothing; the audit log needs a reason")
        wanted = _filter(options)
        rows = event_filter.preview(wanted)
        total = sum(row["events"] for row in rows)
        pending, run = self._retry(wanted, total, options) if options["apply"] and total else (0, None)
        if options["json"]:
            done = {"applied": options["apply"], "pending": pending, "replay_run": run and str(run.pk)}
            self.stdout.write(json.dumps({"events": total, "found": rows} | done))
            return
        if rows:
            table = Table("event type", "status", "events")
            for row in rows:
                table.add_row(row["event_type"], row["status"], str(row["events"]))
            print_table(self.stdout, table)
        if run:
            self.stdout.write(f"Replay {run.pk} tries {run.total} events, at most {run.events_per_minute} a minute.")
        elif total and options["apply"]:
            self.stdout.write(f"{pending} events are pending again.")
        else:
            self.stdout.write(f"{total} events match{'; --apply retries them' if total else ''}.")

    def _retry(self, wanted: EventFilter, total: int, options: dict[str, Any]) -> tuple[int, ReplayRun | None]:
        """How many events are pending again, or the run that tries them in the background."""
        who = {"actor": "command", "reason": options["reason"]}
        try:
            if total <= replay.AT_ONCE:
                return replay.replay(event_filter.matching(wanted), **who), None
            return 0, replay_runs.start(wanted, **who, events_per_minute=options["rate"])
        except Refused as refusal:
            raise CommandError(str(refusal)) from refusal


def _filter(options: dict[str, Any]) -> EventFilter:
    statuses = tuple(options["status"] or EventFilter.statuses)
    # What a worker has in its hands is nobody else's to retry.
    possible = [status for status in WebhookEvent.Status.values if status != WebhookEvent.Status.PROCESSING]
    for status in statuses:
        if status not in possible:
            raise CommandError(f"--status: {status!r} is none of {', '.join(possible)}")
    since, until = _time("--since", options["since"]), _time("--until", options["until"])
    if since and until and since > until:
        raise CommandError(f"--since: {options['since']!r} is later than --until {options['until']!r}")
    _require_known(options["ids"], statuses)
    return EventFilter(
        statuses=statuses,
        event_type=options["type"],
        error_text=options["error"],
        received_from=since,
        received_until=until,
        ids=tuple(options["ids"]),
    )


def _require_known(ids: list[str], statuses: tuple[str, ...]) -> None:
    """Refuse an event that was named but is not here, or is in a status that was not asked for."""
    found = dict(WebhookEvent.objects.filter(stripe_event_id__in=ids).values_list("stripe_event_id", "status"))
    for event_id in ids:
        if event_id not in found:
            raise CommandError(f"{event_id}: no such event in the inbox; reconcile_stripe ingests what never arrived")
        if found[event_id] == WebhookEvent.Status.PROCESSING:
            raise CommandError(f"{event_id}: is being processed right now")
        if found[event_id] not in statuses:
            raise CommandError(f"{event_id}: is {found[event_id]}, not {' or '.join(statuses)}; give its --status too")


def _time(name: str, text: str | None) -> datetime | None:
    if text is None:
        return None
    try:
        moment = parse_datetime(text) or datetime.fromisoformat(text)
    except ValueError as error:
        raise CommandError(f"{name}: {text!r} is not a time such as 2026-11-01T12:00") from error
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
