"""The job that keeps our customers in step with their identities."""

from collections import Counter

from django.conf import settings

from billing.cognito import sync
from billing.cognito.pool import Pool
from glyphforge.errors import Refused
from monitoring.jobs.outcome import JobFailed, Outcome


def sync_user_pool() -> Outcome:
    """Sync customers from the Cognito user pool, as `sync_cognito_users --apply`. `rows` were changed.

    `detail` counts each action; a conflict is one that a person has to resolve, which the command names. Fails when
    Cognito refuses, or too many customers would be suspended.
    """
    done: Counter[str] = Counter()
    problem = None
    try:
        for step in sync.sync_pool(Pool(settings.COGNITO_USER_POOL_ID), apply=True):
            done[step.action] += 1
    except Refused as refusal:
        problem = refusal
    outcome = Outcome(done.total() - done[sync.Action.CONFLICT], dict(done))
    if problem:
        raise JobFailed(str(problem), outcome) from problem
    return outcome
