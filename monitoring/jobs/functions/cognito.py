"""The job that keeps our customers in step with their identities."""

from collections import Counter

from django.conf import settings

from billing.cognito import sync
from billing.cognito.pool import Pool
from glyphforge.errors import LeftOut, Refused
from monitoring.jobs.outcome import JobFailed, Outcome


def sync_user_pool() -> Outcome:
    """Sync customers from the Cognito user pool, as `sync_cognito_users --apply`. `rows` were changed.

    `detail` counts each action; a conflict is one that a person has to resolve, which the command names. Fails when
    Cognito refuses, too many customers would be suspended, or some were left out, whom the error names.
    """
    done: Counter[str] = Counter()
    left: list[str] = []
    problems: list[str] = []
    try:
        for step in sync.sync_pool(Pool(settings.COGNITO_USER_POOL_ID), apply=True):
            done[step.action] += 1
            if step.action is sync.Action.ERROR:
                left.append(f"{step.subject}: {step.detail}")
    except Refused as refusal:
        problems.append(str(refusal))
    outcome = Outcome(done.total() - done[sync.Action.CONFLICT] - len(left), dict(done))
    if left:
        problems.append(str(LeftOut(left, done=outcome.rows)))
    if problems:
        raise JobFailed("; ".join(problems), outcome)
    return outcome
