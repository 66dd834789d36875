"""Try an act in a transaction that is rolled back, and print what it would do."""

import json
from collections.abc import Callable
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from billing.models import Difference, WebhookEvent
from billing.services import prices, reconciliation
from billing.stripe.events import replay
from glyphforge.database.rehearsal import Rehearsal, rehearse
from glyphforge.errors import Refused
from monitoring.alerts import thresholds
from monitoring.models import HealthCheck

ACTOR, REASON = "manage.py rehearse", "Rehearsal"
LONGEST = 120  # characters of a value


class Command(BaseCommand):
    """Prints what follows from the act and the rows that it would write; exits 1 when it would be refused.

    `--json` prints one object: `said`, `told` (lists of lines by headline) and `rows`, a list of `table`, `key`,
    `action` and `columns`, by name the values before and after.
    """

    help = "Runs an event, a mapping, a repair or a threshold, shows what it would do, and undoes it."

    def add_arguments(self, parser: CommandParser) -> None:
        acts = parser.add_subparsers(dest="act", required=True)
        event = acts.add_parser("event", help="process a stored event (again)")
        event.add_argument("event_id", metavar="EVENT")
        price = acts.add_parser("price", help="let a price or product sell a plan")
        price.add_argument("price_id", metavar="PRICE")
        price.add_argument("tier", metavar="PLAN", help="a plan, or none for what is not ours")
        repair = acts.add_parser("repair", help="repair open differences")
        repair.add_argument("differences", metavar="DIFFERENCE", type=int, nargs="+")
        threshold = acts.add_parser("threshold", help="change what a check warns beyond")
        threshold.add_argument("check", metavar="CHECK")
        threshold.add_argument("--warning-at", metavar="N", help="a number, or never")
        threshold.add_argument("--critical-at", metavar="N", help="a number, or never")
        threshold.add_argument("--enabled", choices=("yes", "no"))
        for each in (event, price, repair, threshold):
            each.add_argument("--json", action="store_true", help="print the result as one JSON object")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            found = rehearse(self._act(options))
        except Refused as refusal:
            raise CommandError(str(refusal)) from refusal
        if options["json"]:
            self.stdout.write(json.dumps(_as_json(found), default=str))
        else:
            self.stdout.write("\n".join(_as_text(found)))

    def _act(self, options: dict[str, Any]) -> Callable[[], object]:
        match options["act"]:
            case "event":
                return lambda: _replay(options["event_id"])
            case "price":
                return lambda: prices.map_price(options["price_id"], options["tier"], actor=ACTOR, reason=REASON)
            case "repair":
                return lambda: _repair(options["differences"])
            case _:
                return lambda: _change(options)


def _replay(event_id: str) -> str:
    events = WebhookEvent.objects.filter(stripe_event_id=event_id)
    if not replay.replay(events, actor=ACTOR, reason=REASON):
        why = "it is being processed" if events.exists() else "none of that id is stored"
        raise Refused(f"Event {event_id} cannot be replayed: {why}.")
    return f"Event {event_id} is processed again."


def _repair(keys: list[int]) -> str:
    found = Difference.objects.filter(pk__in=keys, status=Difference.Status.OPEN)
    if missing := sorted(set(keys) - set(found.values_list("pk", flat=True))):
        raise Refused(f"No open difference is numbered {', '.join(map(str, missing))}.")
    return f"{reconciliation.repair(found, actor=ACTOR, reason=REASON)} of {len(keys)} repaired."


def _change(options: dict[str, Any]) -> str:
    check = HealthCheck.objects.filter(pk=options["check"]).first()
    if check is None:
        raise Refused(f"There is no check {options['check']!r}; the page Thresholds lists them.")
    levels = {name: options[name] for name in ("warning_at", "critical_at") if options[name] is not None}
    values: dict[str, object] = {name: thresholds.level(text) for name, text in levels.items()}
    if options["enabled"]:
        values["is_enabled"] = options["enabled"] == "yes"
    if not values:
        raise Refused("Nothing would change: give --warning-at, --critical-at or --enabled.")
    for name, value in values.items():
        setattr(check, name, value)
    thresholds.change(check, values, actor=ACTOR, reason=REASON)
    return f"{check} is changed."


def _as_json(found: Rehearsal) -> dict[str, Any]:
    rows = [
        {
            "table": change.table,
            "key": change.key,
            "action": change.action,
            "columns": {name: [before, after] for name, before, after in change.columns()},
        }
        for change in found.changes
    ]
    return {"said": found.said, "told": found.told, "rows": rows}


def _as_text(found: Rehearsal) -> list[str]:
    lines = [f"It would say: {found.said}"] if found.said else []
    for headline, told in found.told.items():
        lines += [f"{headline}:", *(f"  {line}" for line in told or ["no change"])]
    lines.append(f"Rows: {len(found.changes):,}")
    for change in found.changes:
        lines.append(f"  {change.action} {change.table} {change.key}")
        lines += [f"    {name}: {_cut(before)} -> {_cut(after)}" for name, before, after in change.columns()]
    return [*lines, "Nothing was changed."]


def _cut(value: object) -> str:
    text = json.dumps(value, default=str, ensure_ascii=False)
    return text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"
