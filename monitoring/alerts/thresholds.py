"""From where on a check warns: changed by operators, with a reason."""

from collections.abc import Iterable
from decimal import Decimal

from glyphforge.audit import acting_as
from glyphforge.errors import Refused
from monitoring.models import HealthCheck


def problems(check: HealthCheck) -> dict[str, str]:
    """What is wrong with the check's thresholds, by field."""
    found = {
        name: "Must not be negative."
        for name in ("warning_at", "critical_at")
        if (level := getattr(check, name)) is not None and level < 0
    }
    warning, critical = check.warning_at, check.critical_at
    if warning is not None and critical is not None:
        milder = critical > warning if check.lower_is_worse else critical < warning
        if milder:
            found["critical_at"] = "Must be at least as bad as the warning."
    return found


def change(check: HealthCheck, fields: Iterable[str], *, actor: str, reason: str) -> None:
    """Write these fields of the check; refuses thresholds that make no sense."""
    if found := problems(check):
        raise Refused(" ".join(f"{name} is {getattr(check, name)}: {text}" for name, text in sorted(found.items())))
    with acting_as(actor=actor, reason=reason):
        check.save(update_fields=list(fields))


def level(text: str) -> Decimal | None:
    """A threshold as somebody writes it, `never` for none; refuses what is no number."""
    if text == "never":
        return None
    try:
        found = Decimal(text)
    except ArithmeticError:
        found = Decimal("NaN")
    if not found.is_finite():
        raise Refused(f"{text!r} is no threshold: write a number, or never.")
    return found
