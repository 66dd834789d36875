"""What a rehearsed act would do to MRR, to the alerts, and to who is told of them."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from django.db.models import Sum

from glyphforge.database.clock import database_time
from glyphforge.database.rehearsal import Told
from glyphforge.money import money
from monitoring.alerts.evaluation import OPENS_AFTER, evaluate
from monitoring.alerts.observation import Observed, observe
from monitoring.models import Alert, Notification, SubscriptionBreakdown

# So many evaluations tell of everything that is wrong.
EVALUATIONS = max(OPENS_AFTER.values())


@contextmanager
def watched() -> Iterator[Callable[[], Told]]:
    """For rehearsals: `MRR`, `Alerts` and `Messages`, a line each that would come or change.

    The alerts are evaluated once all is done, first by what was seen before the act, then by what is seen after it: so
    nothing is put down to the act that would come anyway, and the alerts are locked for a moment only.
    """
    mrr, seen = _mrr(), observe()

    def tell() -> Told:
        after, seen_after = _mrr(), observe()
        _evaluate(seen)
        open_before = _open()
        last = Notification.objects.order_by("-pk").values_list("pk", flat=True).first() or 0
        _evaluate(seen_after)
        told = Notification.objects.filter(pk__gt=last).order_by("pk")
        return {
            "MRR": _compared(mrr, after),
            "Alerts": _changed(open_before, _open()),
            "Messages": [f"{row.get_channel_display()}: {row.get_kind_display()}: {row.message}" for row in told],
        }

    yield tell


def _mrr() -> dict[str, int]:
    sums = SubscriptionBreakdown.objects.values_list("currency").annotate(cents=Sum("mrr_cents"))
    return dict(sums.order_by("currency"))


def _compared(before: dict[str, int], after: dict[str, int]) -> list[str]:
    return [
        f"{money(before.get(currency, 0), currency)} \N{RIGHTWARDS ARROW} {money(after.get(currency, 0), currency)}"
        for currency in sorted(before.keys() | after.keys())
        if before.get(currency, 0) != after.get(currency, 0)
    ]


def _evaluate(seen: Observed) -> None:
    for _ in range(EVALUATIONS):
        evaluate(seen.alerts, database_time(), unmeasured=seen.unmeasured)


def _open() -> dict[str, tuple[str, str]]:
    """Severity and text of each alert that somebody is or was told of, by fingerprint."""
    rows = Alert.objects.exclude(state__in=(Alert.State.PENDING, Alert.State.RESOLVED))
    return {row.fingerprint: (row.severity, f"{row.subject}: {row.message}") for row in rows}


def _changed(before: dict[str, tuple[str, str]], after: dict[str, tuple[str, str]]) -> list[str]:
    lines = []
    for fingerprint in sorted(before.keys() | after.keys()):
        was, now = before.get(fingerprint), after.get(fingerprint)
        if was is None and now:
            lines.append(f"{now[0]}: {now[1]}")
        elif was and now is None:
            lines.append(f"resolved: {was[1]}")
        elif was and now and was[0] != now[0]:
            lines.append(f"{was[0]} \N{RIGHTWARDS ARROW} {now[0]}: {now[1]}")
    return lines
