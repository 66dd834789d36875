"""The checks by name, in the order in which an installation is built up."""

from functools import partial

from monitoring.doctor import backups, channels, database, health, processes, settings, stripe
from monitoring.doctor.examination import Check


def checks(*, send: bool) -> dict[str, Check]:
    """All checks; with `send` the channels are tried with a message, otherwise only reached for."""
    return {
        "settings": settings.deployment,
        "secrets": settings.secrets,
        "database": database.connections_answer,
        "migrations": database.migrations,
        "definitions": database.definitions,
        "roles": database.roles,
        "pooler": database.pooler,
        "production": database.production,
        "clock": database.clock,
        "stripe key": stripe.key,
        "stripe webhook": stripe.webhook,
        "slack": partial(channels.slack, send=send),
        "e-mail": partial(channels.email, send=send),
        "backups": backups.backups,
        "schedules": processes.schedules,
        "worker": processes.worker,
        "web": processes.web,
        "prober": processes.prober,
        "health": health.health,
    }
