"""What a daily report is made of, before anybody draws it."""

from dataclasses import dataclass, field
from datetime import date

CHART_DAYS = 14
BARS = "▁▂▃▄▅▆▇█"


@dataclass(frozen=True)
class Comparison:
    """A change against another day; the tone says whether it is welcome."""

    text: str
    tone: str


@dataclass(frozen=True)
class Figure:
    """A line of the report."""

    label: str
    value: str
    day_before: Comparison
    week_before: Comparison

    @property
    def changes(self) -> tuple[Comparison, Comparison]:
        return self.day_before, self.week_before


@dataclass(frozen=True)
class Trend:
    """The last fourteen days of a figure, as bars from 0 to 100."""

    title: str
    first: str
    last: str
    heights: list[int]

    @property
    def text(self) -> str:
        """The bars as characters."""
        return "".join(BARS[height * (len(BARS) - 1) // 100] for height in self.heights)


@dataclass(frozen=True)
class Section:
    title: str
    figures: list[Figure] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Report:
    day: date
    headline: str
    sections: list[Section]
    trends: list[Trend]
