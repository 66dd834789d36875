"""The dashboard's charts, as the data and options that Unfold hands to its local Chart.js."""

import json
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

from billing.models import Tier
from glyphforge.money import money, units
from monitoring.dashboard.figures import MOVEMENTS
from monitoring.models import DailyFigures, DailyMrr

# Both grounds, light and dark, must carry them.
TIER_COLOURS = {"starter": "#c084fc", "professional": "#9333ea", "enterprise": "#0ea5e9", "free": "#94a3b8"}
MOVEMENT_COLOURS = {
    "new": "#16a34a",
    "reactivation": "#0ea5e9",
    "expansion": "#86efac",
    "contraction": "#fbbf24",
    "churn": "#ef4444",
}
GREY = "#94a3b8"


@dataclass(frozen=True)
class Chart:
    """A chart for Chart.js: `data` and `options` are JSON, `legend` pairs a label with its colour.

    `summary` says in words what the drawing shows, for those who cannot see it.
    """

    title: str
    kind: str
    summary: str
    data: str
    options: str
    legend: list[tuple[str, str]]


def _axis(**values: Any) -> dict[str, Any]:
    ticks = {"color": GREY, "maxTicksLimit": 5, **values.pop("ticks", {})}
    return {"border": {"display": False}, "grid": {"drawTicks": False}, "ticks": ticks, **values}


def _money_ticks(currency: str) -> dict[str, Any]:
    # Without the minimum, browsers take the currency's two digits, and refuse a maximum below.
    digits = {"minimumFractionDigits": 0, "maximumFractionDigits": 0}
    return {"format": {"style": "currency", "currency": currency.upper(), **digits}}


def _options(*, stacked: bool = False, ticks: dict[str, Any] | None = None, right: dict[str, Any] | None = None) -> str:
    scales = {
        "x": _axis(
            stacked=stacked,
            grid={"display": False},
            ticks={"maxRotation": 0, "maxTicksLimit": 7, "autoSkipPadding": 16},
        ),
        "y": _axis(stacked=stacked, beginAtZero=True, ticks=ticks or {"precision": 0}),
    }
    if right is not None:
        scales["y1"] = _axis(position="right", beginAtZero=True, grid={"display": False}, ticks=right)
    options = {
        "animation": False,
        "responsive": True,
        "maintainAspectRatio": False,
        "interaction": {"mode": "index", "intersect": False},
        "plugins": {
            "legend": {"display": False},
            "tooltip": {"usePointStyle": True, "boxPadding": 4, "padding": 10, "caretSize": 0},
        },
        "scales": scales,
    }
    return json.dumps(options)


def _data(days: Sequence[date], datasets: Iterable[dict[str, Any]]) -> str:
    return json.dumps({"labels": [f"{day:%b} {day.day}" for day in days], "datasets": list(datasets)})


def _line(label: str, values: Sequence[float], colour: str, **more: Any) -> dict[str, Any]:
    # Monotone: a smooth line that never claims more or less than the days on either side.
    line = {
        "type": "line",
        "cubicInterpolationMode": "monotone",
        "borderColor": colour,
        "backgroundColor": colour,
        "borderWidth": 2,
    }
    return {"label": label, "data": values, "pointRadius": 0, "pointHoverRadius": 4, **line, **more}


def _bar(label: str, values: Sequence[float], colour: str, **more: Any) -> dict[str, Any]:
    shape = {"type": "bar", "backgroundColor": colour, "borderRadius": 2, "maxBarThickness": 14}
    return {"label": label, "data": values, **shape, **more}


def mrr_by_tier(rows: list[DailyMrr], currency: str) -> Chart:
    """Each tier's recurring revenue, stacked by day. `rows` must be of one `currency`."""
    days = sorted({row.day for row in rows})
    ends: dict[str, dict[date, int]] = defaultdict(dict)
    for row in rows:
        ends[row.tier][row.day] = row.end_cents
    tiers = [tier for tier in Tier.values if tier in ends]
    labels = {tier: str(Tier(tier).label) for tier in tiers}
    datasets = [
        _line(
            labels[tier],
            [float(units(ends[tier].get(day, 0), currency)) for day in days],
            TIER_COLOURS[tier],
            backgroundColor=f"{TIER_COLOURS[tier]}59",
            fill="-1" if position else "origin",
        )
        for position, tier in enumerate(tiers)
    ]
    last = ", ".join(f"{labels[tier]} {money(ends[tier].get(days[-1], 0), currency, short=True)}" for tier in tiers)
    return Chart(
        title="MRR by plan",
        kind="line",
        summary=f"Monthly recurring revenue by plan over {len(days)} days. Today: {last or 'nothing'}.",
        data=_data(days, datasets),
        options=_options(stacked=True, ticks=_money_ticks(currency)),
        legend=[(labels[tier], TIER_COLOURS[tier]) for tier in tiers],
    )


def net_new_mrr(rows: list[DailyMrr], currency: str) -> Chart:
    """Each day's movements of recurring revenue, stacked, with their sum as a line. `rows` are of one `currency`."""
    days = sorted({row.day for row in rows})
    sums: dict[str, dict[date, int]] = {kind: defaultdict(int) for kind in MOVEMENTS}
    for row in rows:
        for kind in MOVEMENTS:
            sums[kind][row.day] += getattr(row, f"{kind}_cents")
    bars = [
        _bar(
            kind.capitalize(),
            [float(units(sums[kind][day], currency)) for day in days],
            MOVEMENT_COLOURS[kind],
            stack="movements",
        )
        for kind in MOVEMENTS
    ]
    net = [float(units(sum(sums[kind][day] for kind in MOVEMENTS), currency)) for day in days]
    line = _line("Net", net, GREY, stack="net", borderWidth=1.5, order=-1, cubicInterpolationMode="default")
    totals = ", ".join(f"{kind} {money(sum(sums[kind].values()), currency, short=True)}" for kind in MOVEMENTS)
    return Chart(
        title="Net new MRR",
        kind="bar",
        summary=f"Movements of monthly recurring revenue over {len(days)} days: {totals}.",
        data=_data(days, [*bars, line]),
        options=_options(stacked=True, ticks=_money_ticks(currency)),
        legend=[*((kind.capitalize(), MOVEMENT_COLOURS[kind]) for kind in MOVEMENTS), ("Net", GREY)],
    )


def usage_and_errors(rows: list[DailyFigures]) -> Chart:
    """Each day's requests as bars, and the share that failed as a line with an axis of its own, in percent."""
    days = [row.day for row in rows]
    rate = [round(100 * row.failed_requests / row.requests, 2) if row.requests else 0 for row in rows]
    requests = sum(row.requests for row in rows)
    failed = sum(row.failed_requests for row in rows)
    return Chart(
        title="API usage and errors",
        kind="bar",
        summary=f"API requests over {len(days)} days: {requests:,}, of which {failed:,} failed.",
        data=_data(
            days,
            [
                _bar("Requests", [row.requests for row in rows], "#a855f7", yAxisID="y"),
                _line("Errors, %", rate, "#ef4444", yAxisID="y1"),
            ],
        ),
        options=_options(
            ticks={"format": {"notation": "compact"}},
            right={"format": {"maximumFractionDigits": 1}, "color": "#ef4444"},
        ),
        legend=[("Requests", "#a855f7"), ("Errors, % (right)", "#ef4444")],
    )


def user_growth(rows: list[DailyFigures]) -> Chart:
    """New customers a day as bars, and all customers as a line with an axis of its own. `rows` are in order of day."""
    days = [row.day for row in rows]
    total = rows[-1].total_users if rows else 0
    joined = sum(row.new_users for row in rows)
    return Chart(
        title="Customer growth",
        kind="bar",
        summary=f"Customers over {len(days)} days: {joined:,} joined, {total:,} in total.",
        data=_data(
            days,
            [
                _bar("New customers", [row.new_users for row in rows], "#38bdf8", yAxisID="y"),
                _line("All customers (right)", [row.total_users for row in rows], "#9333ea", yAxisID="y1"),
            ],
        ),
        options=_options(right={"format": {"notation": "compact"}, "precision": 0}),
        legend=[("New customers", "#38bdf8"), ("All customers (right)", "#9333ea")],
    )
