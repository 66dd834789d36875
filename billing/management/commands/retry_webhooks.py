from argparse import ArgumentParser
from datetime import UTC, datetime
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.utils.dateparse import parse_datetime
from rich.table import Table

from billing.models import WebhookEvent
from billing.services import event_filter, replay_runs, webhooks
from billing.services.errors import Refused
from billing.services.event_filter import EventFilter
from glyphforge.terminal import print_table


class Command(BaseCommand):
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

    def handle(self, *args: Any, **options: Any) -> None:
        wanted = _filter(options)
        rows = event_filter.preview(wanted)
        total = sum(row["events"] for row in rows)
        if rows:
            table = Table("event type", "status", "events")
            for row in rows:
                table.add_row(row["event_type"], row["status"], str(row["events"]))
            print_table(self.stdout, table)
        if not total or not options["apply"]:
            self.stdout.write(f"{total} events match{'; --apply retries them' if total else ''}.")
            return
        try:
            if total <= webhooks.AT_ONCE:
                count = webhooks.replay(event_filter.matching(wanted), actor="command", reason=options["reason"])
                self.stdout.write(f"{count} events are pending again.")
                return
            run = replay_runs.start(
                wanted, actor="command", reason=options["reason"], events_per_minute=options["rate"]
            )
        except Refused as refusal:
            raise CommandError(str(refusal)) from refusal
        self.stdout.write(f"Replay {run.pk} tries {run.total} events, at most {run.events_per_minute} a minute.")


def _filter(options: dict[str, Any]) -> EventFilter:
    statuses = tuple(options["status"] or EventFilter.statuses)
    unknown = set(statuses) - set(WebhookEvent.Status.values)
    if unknown:
        raise CommandError(f"--status: {unknown.pop()!r} is none of {', '.join(WebhookEvent.Status.values)}")
    return EventFilter(
        statuses=statuses,
        event_type=options["type"],
        error_text=options["error"],
        received_from=_time("--since", options["since"]),
        received_until=_time("--until", options["until"]),
        ids=tuple(options["ids"]),
    )


def _time(name: str, text: str | None) -> datetime | None:
    if text is None:
        return None
    try:
        moment = parse_datetime(text) or datetime.fromisoformat(text)
    except ValueError as error:
        raise CommandError(f"{name}: {text!r} is not a time such as 2026-11-01T12:00") from error
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
