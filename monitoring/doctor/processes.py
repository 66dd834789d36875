"""What runs: schedules, the worker, the web server, and who watches it from outside."""

from collections.abc import Iterator
from http.client import HTTPException
from urllib.error import HTTPError
from urllib.request import urlopen

from django.conf import settings
from django.urls import reverse

from monitoring.doctor.finding import Finding, critical, ok, warning
from monitoring.jobs.registry import JOBS
from monitoring.models import JobSchedule, ReadinessRequest
from monitoring.probes import CHECKS

ANSWER_SECONDS = 10
# A prober asks every minute or so.
PROBED_WITHIN_SECONDS = 15 * 60


def schedules() -> Iterator[Finding]:
    """A schedule for every job, switched on."""
    known = dict(JobSchedule.objects.values_list("job", "enabled"))
    if missing := [name for name in JOBS if name not in known]:
        yield critical(f"no schedule for {', '.join(missing)}", "manage.py database init")
    if off := [name for name in JOBS if known.get(name) is False]:
        page = f"{settings.BACKOFFICE_URL}{reverse('admin:monitoring_jobschedule_changelist')}"
        yield warning(f"switched off: {', '.join(off)}", f"switch them on at {page}")
    if not missing and not off:
        yield ok(f"{len(known)} jobs are scheduled")


def worker() -> Iterator[Finding]:
    """A worker that gave a sign of life, as /readyz asks."""
    if problem := CHECKS["worker"]():
        yield critical(problem, "systemctl start glyph-forge-worker.service, or: manage.py worker")
    else:
        yield ok("alive")


def web() -> Iterator[Finding]:
    """The back office answers where links lead to: over the proxy, its certificate and the name."""
    address = f"{settings.BACKOFFICE_URL}/healthz"
    fix = "systemctl start glyph-forge-web.service and its proxy, or set BACKOFFICE_URL to where staff reach it"
    try:
        with urlopen(address, timeout=ANSWER_SECONDS) as answer:  # noqa: S310 - settings accept http and https only
            served = b'"status"' in answer.read(1000)
    except HTTPError as error:
        yield critical(f"{address} answers {error.code}", fix)
    except (OSError, HTTPException) as error:
        yield critical(f"{address}: {getattr(error, 'reason', error)}", fix)
    else:
        yield ok(f"{address} answers") if served else critical(f"{address} is another program's", fix)


def prober() -> Iterator[Finding]:
    """Somebody asks /readyz, and so learns of it when all of this is down."""
    fix = f"have a monitor outside this machine ask {settings.BACKOFFICE_URL}/readyz every minute (docs/monitor.md)"
    seconds = ReadinessRequest.seconds_since()
    if seconds is None:
        yield warning("nobody has ever asked /readyz: who would tell you that everything is down?", fix)
    elif seconds > PROBED_WITHIN_SECONDS:
        yield warning(f"nobody has asked /readyz for {seconds / 60:.0f} minutes", fix)
    else:
        yield ok("/readyz is asked")
