"""What a job's function hands back."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Outcome:
    """How many rows the job changed, and what a person would want to know about it (JSON)."""

    rows: int = 0
    detail: Mapping[str, Any] = field(default_factory=dict)


class JobSkipped(Exception):  # noqa: N818 - as below
    """The job cannot be done here, which is no failure of it; the message says why."""


class JobFailed(Exception):  # noqa: N818 - a fact, as in `except JobFailed`
    """Part of the job failed; the message says what, the outcome what was done nevertheless."""

    def __init__(self, message: str, outcome: Outcome) -> None:
        super().__init__(message)
        self.outcome = outcome
