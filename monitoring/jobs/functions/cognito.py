"""The job that keeps our customers in step with their identities."""

from collections import Counter

from django.conf import settings

from billing.services import cognito_users
from billing.services.cognito_pool import Pool
from billing.services.errors import Refused
from monitoring.outcome import JobFailed, Outcome


def follow_user_pool() -> Outcome:
    """Bring customers in line with the Cognito user pool, as `sync_cognito_users --apply`. `rows` were changed.

    `detail` counts each action; a conflict is one that a person has to settle, which the command names.
    """
    done: Counter[str] = Counter()
    problem = None
    try:
        for step in cognito_users.synchronize(Pool(settings.COGNITO_USER_POOL_ID), apply=True):
            done[step.action] += 1
    except Refused as refusal:
        problem = refusal
    outcome = Outcome(done.total() - done[cognito_users.Action.CONFLICT], dict(done))
    if problem:
        raise JobFailed(str(problem), outcome) from problem
    return outcome
