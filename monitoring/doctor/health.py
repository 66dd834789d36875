"""The health checks, as `v_system_health` measures them."""

from collections.abc import Iterator

from monitoring.doctor.finding import Finding, critical, ok, warning
from monitoring.models import SystemHealth

# What the doctor looks at by itself.
ELSEWHERE = {"worker_silence", "drift", "alert_channels", "missing_rights"}


def health() -> Iterator[Finding]:
    """Each health check that is not well, with its remedy."""
    found = False
    for check in SystemHealth.objects.exclude(check_name__in=ELSEWHERE):
        if check.status in (SystemHealth.Status.WARNING, SystemHealth.Status.CRITICAL):
            found = True
            judged = critical if check.status == SystemHealth.Status.CRITICAL else warning
            yield judged(f"{check.title}: {check.message}", check.remediation)
    if not found:
        yield ok("every health check is well")
