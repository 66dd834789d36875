"""The settings: what `check --deploy` says, and whether the secrets are any."""

from collections.abc import Iterator

from django.conf import settings
from django.core.checks import ERROR, run_checks

from monitoring.doctor.finding import Finding, critical, ok, warning

SHORTEST_SECRET = 16
GENERATE = 'python -c "import secrets; print(secrets.token_urlsafe(48))"'
# Django's checks that the doctor makes more of by itself.
ELSEWHERE = {"glyphforge.W011"}
# What Django says of one setting of ours, DJANGO_HTTPS.
ABOUT_HTTPS = {"security.W004", "security.W008", "security.W012", "security.W016"}


def deployment() -> Iterator[Finding]:
    """Each message of `check --deploy`; on a machine for development, only that it is one."""
    if settings.DEBUG:
        where = "the demo's database" if settings.EMBEDDED_DATABASE else "a database of its own"
        yield (ok if settings.EMBEDDED_DATABASE else _debugging)(f"DJANGO_DEBUG is on, with {where}")
        return
    if not settings.HTTPS:
        yield warning(
            "DJANGO_HTTPS is off: passwords and sessions travel as they are",
            "set DJANGO_HTTPS=true, behind a proxy that ends TLS and sets X-Forwarded-Proto",
        )
    if "*" in settings.ALLOWED_HOSTS:
        yield warning(
            "DJANGO_ALLOWED_HOSTS takes every name, so links can be made to lead elsewhere",
            "set DJANGO_ALLOWED_HOSTS to the name that staff open, such as billing.example.com",
        )
    said = run_checks(include_deployment_checks=True)
    found = [message for message in said if message.id not in ELSEWHERE | ABOUT_HTTPS]
    for message in found:
        text = " ".join(str(message.msg).split())
        fix = message.hint or f"see https://docs.djangoproject.com/en/5.2/ref/checks/ for {message.id}"
        yield (critical if message.level >= ERROR else warning)(f"{message.id}: {text}", fix)
    if settings.HTTPS and not found:
        yield ok("check --deploy has no issues")


def _debugging(message: str) -> Finding:
    return critical(f"{message}: errors show settings and rows to whoever meets them", "set DJANGO_DEBUG=false")


def secrets() -> Iterator[Finding]:
    """Secrets that are short, left as in the example, or not of their kind; never what they are."""
    weak = {
        name: f"{name} has fewer than {SHORTEST_SECRET} characters"
        for name, value in _secrets().items()
        if value and len(value) < SHORTEST_SECRET
    }
    for name, text in weak.items():
        yield warning(text, f"set {name} to what this prints: {GENERATE}")
    if not all(secret.startswith("whsec_") for secret in settings.STRIPE_WEBHOOK_SECRETS):
        yield critical(
            "STRIPE_WEBHOOK_SECRET is no signing secret of Stripe's, so every event is refused",
            "set it to what Stripe's dashboard shows as the endpoint's signing secret, whsec_…",
        )
    elif not weak:
        yield ok("long enough and of their kind")


def _secrets() -> dict[str, str]:
    """The secrets that nobody else judges, by the variable that holds each."""
    found = {"METRICS_TOKEN": settings.METRICS_TOKEN}
    for name, alias in (("DATABASE_URL", "default"), ("MAINTENANCE_DATABASE_URL", "maintenance")):
        found[f"the password in {name}"] = str(settings.DATABASES.get(alias, {}).get("PASSWORD") or "")
    return found
