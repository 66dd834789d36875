"""System checks that know what this back office needs in production."""

from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error, Tags, Warning, register

from billing.stripe import mode


@register(Tags.security, deploy=True)
def shared_secret_key(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    """Warn (W001) of a generated key: sessions signed by it are unreadable on the next machine."""
    if not settings.SECRET_KEY_IS_LOCAL:
        return []
    return [
        Warning(
            "DJANGO_SECRET_KEY is not set; this machine uses a key of its own.",
            hint="Set the same DJANGO_SECRET_KEY (50 random characters or more) for every web process and worker.",
            id="glyphforge.W001",
        )
    ]


@register(Tags.security, deploy=True)
def second_factor_required(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    """Warn (W010) where a password alone opens customers' payments."""
    if settings.STAFF_SECOND_FACTOR_REQUIRED:
        return []
    return [
        Warning(
            "Staff may sign in without a second factor.",
            hint="Remove STAFF_SECOND_FACTOR_REQUIRED=false, or serve over HTTPS.",
            id="glyphforge.W010",
        )
    ]


@register(Tags.security, deploy=True)
def production_services(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    """Warn where a real installation lacks what the demo brings along: a database (W002), a webhook secret (W003)."""
    found: list[CheckMessage] = []
    if settings.EMBEDDED_DATABASE:
        found.append(
            Warning(
                "DATABASE_URL is not set; a PostgreSQL meant for the demo is started beside this process.",
                hint="Set DATABASE_URL=postgresql://user:password@host:5432/database.",
                id="glyphforge.W002",
            )
        )
    if not settings.STRIPE_WEBHOOK_SECRETS:
        found.append(
            Warning(
                "STRIPE_WEBHOOK_SECRET is not set; every event of Stripe is refused.",
                hint="Set it to the signing secret of the endpoint, whsec_…, from Stripe's dashboard.",
                id="glyphforge.W003",
            )
        )
    return found


@register(Tags.security, deploy=True)
def stripe_mode(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    """An error (E001) for a key of the mode that is not on: its events would be stored and ignored for ever."""
    return [
        Error(
            problem,
            hint="Set STRIPE_LIVE_MODE=true for the account with money, or leave the live key out.",
            id="glyphforge.E001",
        )
        for problem in mode.problems()
    ]


@register(Tags.security, deploy=True)
def alert_channels(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    """Warn (W004) where trouble is told to nobody."""
    if settings.SLACK_WEBHOOK_URL or settings.ALERT_EMAIL:
        return []
    return [
        Warning(
            "Alerts are sent to nobody.",
            hint="Set SLACK_WEBHOOK_URL, or ALERT_EMAIL with EMAIL_URL.",
            id="glyphforge.W004",
        )
    ]
