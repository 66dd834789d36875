"""What a check of the doctor found."""

from dataclasses import dataclass
from typing import Literal

Status = Literal["ok", "warning", "critical"]
STATUSES: tuple[Status, ...] = ("ok", "warning", "critical")


@dataclass(frozen=True)
class Finding:
    """One line: how it stands, what was seen and, where something is wrong, the command or setting that mends it."""

    status: Status
    message: str
    fix: str = ""

    def text(self, check: str) -> str:
        """The line for people, of the check with this name, and below it the fix."""
        fix = f"\n{'':<10}to mend it: {self.fix}" if self.fix else ""
        return f"{self.status:<8}  {check}: {self.message}{fix}"


def ok(message: str) -> Finding:
    """All is well."""
    return Finding("ok", message)


def warning(message: str, fix: str) -> Finding:
    """It works, and something is missing or will go wrong."""
    return Finding("warning", message, fix)


def critical(message: str, fix: str) -> Finding:
    """It does not work, or loses something."""
    return Finding("critical", message, fix)
