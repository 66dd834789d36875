"""What a daily report is made of, before anybody draws it."""

from dataclasses import dataclass, field
from datetime import date

CHART_DAYS = 14
BARS = "▁▂▃▄▅▆▇█"


@dataclass(frozen=True)
class Comparison:
    """A change against another day; the tone, good, bad or neutral, says whether it is welcome."""

    text: str
    tone: str


@dataclass(frozen=True)
class Figure:
    """A line of the report: a value as people read it, and how it changed."""

    label: str
    value: str
    day_before: Comparison
    week_before: Comparison

    @property
    def changes(self) -> tuple[Comparison, Comparison]:
        """Both comparisons, in the order of their columns."""
        return self.day_before, self.week_before


@dataclass(frozen=True)
class Trend:
    """The last fourteen days of a figure, as bars from 0 to 100; `first` and `last` are the values at the ends."""

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
    """A part of the report: figures as a table, then lines as a list; either may be empty."""

    title: str
    figures: list[Figure] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Report:
    """Everything that the report says on a day; `headline` is what stands in the subject."""

    day: date
    headline: str
    sections: list[Section]
    trends: list[Trend]
