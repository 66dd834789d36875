"""The three Lambda functions: each runs the jobs of its group that are due, in this process.

Settings come from the environment; those that are secret from one secret of Secrets Manager, a JSON object of variable
names and values, whose ARN is in SETTINGS_SECRET_ARN. The slots are those of the schedules in the database, so a worker
or cron elsewhere does no harm: a slot runs once.
"""

import json
import logging
import os
from functools import cache
from typing import Any

# The functions of the stack, and the jobs that each looks after.
DAILY = ("partitions", "daily", "report", "reconcile", "weekly", "verify")
HOURLY = ("sync", "orphans", "snapshot", "cognito")
FREQUENT = ("health", "alerts", "webhooks", "rollup", "seal")
# Here is neither pg_dump nor a disk that lasts: these stay due for a machine that keeps the files.
ELSEWHERE = ("backup", "drill")
# What a function leaves of its time for the record of a job that hangs.
RESERVE_SECONDS = 20
SHORTEST_SECONDS = 5


def daily_maintenance(event: Any, context: Any) -> dict[str, str]:
    """Partitions, daily maintenance, drift, report, comparison with Stripe; on Sundays the weekly cleanup."""
    return run_due(DAILY, context)


def hourly_sync(event: Any, context: Any) -> dict[str, str]:
    """Usage counts, orphaned customers, the day's figures; customers as they are in Cognito."""
    return run_due(HOURLY, context)


def health_check(event: Any, context: Any) -> dict[str, str]:
    """Health and alerts; lost webhook events; counted usage; seals of the audit log."""
    return run_due(FREQUENT, context)


def run_due(group: tuple[str, ...], context: Any) -> dict[str, str]:
    """Run the jobs of the group that are due, one after the other; job to outcome.

    Raises RuntimeError in the end when one failed, so that Lambda counts an error and its alarm goes off.
    """
    set_up()
    from monitoring.jobs import runner, schedules  # noqa: PLC0415 - Django must be set up before

    outcomes: dict[str, str] = {}
    for name in schedules.due():
        if name not in group:
            continue
        left = context.get_remaining_time_in_millis() / 1000 - RESERVE_SECONDS
        if left < SHORTEST_SECONDS:
            logging.getLogger(__name__).warning("No time is left for job %s; it stays due", name)
            outcomes[name] = "postponed"
            continue
        outcomes[name] = runner.run_due_slot(name, trigger="lambda", at_most=left).outcome
    if failed := [name for name, outcome in outcomes.items() if outcome == "failed"]:
        raise RuntimeError(f"failed: {', '.join(failed)}")
    return outcomes


@cache
def set_up() -> None:
    """Settings and Django, once for the life of this process."""
    load_secrets()
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "glyphforge.settings")
    import django  # noqa: PLC0415 - the settings need the secrets

    django.setup()


def load_secrets() -> None:
    """Put the secret's values into the environment; what is set there already wins."""
    arn = os.environ.get("SETTINGS_SECRET_ARN")
    if not arn:
        return
    import boto3  # noqa: PLC0415 - costs half a second, and is needed here only

    secret = boto3.client("secretsmanager").get_secret_value(SecretId=arn)
    for name, value in json.loads(secret["SecretString"]).items():
        os.environ.setdefault(name, str(value))
