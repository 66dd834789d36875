"""System checks that know what this back office needs in production."""

import stat
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from django.core.checks import CheckMessage, Tags, Warning, register
from django.core.checks import Error as CheckError
from django.db import Error

from billing.services import entitlement, quota_rule
from billing.stripe import mode
from glyphforge.database import privileges
from glyphforge.environment import LOOPBACK_HOSTS


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
def shared_key_pepper(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    """An error (E003) for a generated pepper: what one machine stores to check a key fast means nothing to another."""
    if not settings.API_KEY_PEPPER_IS_LOCAL:
        return []
    return [
        CheckError(
            "API_KEY_PEPPER is not set; this machine uses one of its own.",
            hint="Set the same API_KEY_PEPPER (32 random characters or more) for every web process and worker.",
            id="glyphforge.E003",
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
    """Warn where a real installation lacks what the demo brings along or does without.

    That is a database (W002), a webhook secret (W003), a channel for alerts (W004), a token for the metrics (W005) and
    a folder for backups (W006).
    """
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
    if not (settings.SLACK_WEBHOOK_URL or settings.ALERT_EMAIL):
        found.append(
            Warning(
                "Neither SLACK_WEBHOOK_URL nor ALERT_EMAIL is set; no alert reaches anybody.",
                hint="Set SLACK_WEBHOOK_URL=https://hooks.slack.com/services/…, or ALERT_EMAIL and EMAIL_URL.",
                id="glyphforge.W004",
            )
        )
    if not settings.METRICS_TOKEN:
        found.append(
            Warning(
                "METRICS_TOKEN is not set; /metrics refuses everybody.",
                hint="Set METRICS_TOKEN to a random text and give it to Prometheus as its bearer token.",
                id="glyphforge.W005",
            )
        )
    if not settings.BACKUP_DIR:
        found.append(
            Warning(
                "BACKUP_DIR is not set; the jobs `backup` and `drill` are skipped on this machine.",
                hint="Set BACKUP_DIR to an existing folder, unless another machine or the provider takes backups.",
                id="glyphforge.W006",
            )
        )
    return found


@register(Tags.security, deploy=True)
def stripe_mode(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    """An error (E001) for a key of the mode that is not on: its events would be stored and ignored for ever."""
    return [
        CheckError(
            problem,
            hint="Set STRIPE_LIVE_MODE=true for the account with money, or leave the live key out.",
            id="glyphforge.E001",
        )
        for problem in mode.problems()
    ]


@register(Tags.security, deploy=True)
def private_dotenv(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    """Warn (W007) of a `.env` that other users of the machine may read: it holds the secrets."""
    dotenv = settings.BASE_DIR / ".env"
    if not dotenv.is_file() or not dotenv.stat().st_mode & 0o077:
        return []
    permissions = f"{stat.S_IMODE(dotenv.stat().st_mode):o}"
    return [
        Warning(
            f"{dotenv} may be read or written by others (mode {permissions}).",
            hint=f"chmod 600 {dotenv}",
            id="glyphforge.W007",
        )
    ]


@register(Tags.security, deploy=True)
def links_lead_here(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    """Warn (W008) of links in messages that lead to the reader's own machine."""
    if urlsplit(settings.BACKOFFICE_URL).hostname not in LOOPBACK_HOSTS:
        return []
    return [
        Warning(
            f"Links in Slack and e-mail begin with {settings.BACKOFFICE_URL}, which is each reader's own machine.",
            hint="Set BACKOFFICE_URL to the address that staff open, such as https://billing.example.com.",
            id="glyphforge.W008",
        )
    ]


@register(Tags.security, deploy=True)
def hosts_named(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    """Warn (W012) of `*`: whatever host is asked for, links and single sign-on would lead to."""
    if "*" not in settings.ALLOWED_HOSTS:
        return []
    return [
        Warning(
            "DJANGO_ALLOWED_HOSTS takes every host.",
            hint="Set DJANGO_ALLOWED_HOSTS to the names that the back office is opened by.",
            id="glyphforge.W012",
        )
    ]


@register(Tags.security, deploy=True)
def rights_of_roles(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    """Warn (W011) of what the roles that connect lack or have too much of; an error (E004) for a superuser.

    Silent where no database answers.
    """
    if settings.EMBEDDED_DATABASE:
        return []
    try:
        found = privileges.of_all()
    except Error:
        return []  # `database test` and the doctor say why
    return [
        CheckError(f"{problem.text}.", hint=problem.remedy, id="glyphforge.E004")
        if problem.text.endswith("a superuser")
        else Warning(f"{problem.text}.", hint=problem.remedy, id="glyphforge.W011")
        for problem in found
    ]


@register(Tags.security, deploy=True)
def entitled_statuses_applied(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    """An error (E002) where the database still follows another ENTITLED_STATUSES; silent where none answers."""
    try:
        known = entitlement.in_database()
    except Error:
        return []  # `database test` and the doctor say why
    wanted = sorted(settings.ENTITLED_STATUSES)
    if known == wanted:
        return []
    return [
        CheckError(
            f"ENTITLED_STATUSES is {','.join(wanted)}, but the database follows {','.join(known) or 'none'}.",
            hint="Run manage.py database init, or give every machine the setting that the database has.",
            id="glyphforge.E002",
        )
    ]


@register(Tags.security, deploy=True)
def quota_rule_applied(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    """An error (E004) where the database still follows another QUOTA_COUNTS; silent where none answers."""
    try:
        known = quota_rule.in_database()
    except Error:
        return []  # `database test` and the doctor say why
    if known == settings.QUOTA_COUNTS:
        return []
    return [
        CheckError(
            f"QUOTA_COUNTS is {settings.QUOTA_COUNTS}, but the database follows {known or 'none'}.",
            hint="Run manage.py database init, or give every machine the setting that the database has.",
            id="glyphforge.E004",
        )
    ]
