"""What becomes of the month when a plan with a lower limit comes: the rest of the old one, where that was asked for."""

from datetime import UTC, datetime

from billing.models import ExtraQuota, StripeRequest, Subscription
from billing.models.extra_quota import MOST_REQUESTS, end_of_month
from glyphforge.audit import acting_as
from glyphforge.database.clock import database_time

Kind = StripeRequest.Kind
KINDS = (Kind.CHANGE_PLAN, Kind.CHANGE_PLAN_AT_PERIOD_END)


def keep(row: Subscription, limit_before: int | None) -> None:
    """Grant what the row's limit has fallen by until the month (UTC) ends, if the change of plan was asked for with
    `keeps_month` and falls into this month; once.

    The caller has just written the row's new plan, in the same transaction, so that the limit never falls in between.
    """
    request = (
        StripeRequest.objects.filter(
            kind__in=KINDS, row_id=row.pk, parameters__keeps_month=True, parameters__tier=row.tier
        )
        .exclude(state=StripeRequest.State.REFUSED)
        .order_by("-asked_at")
        .first()
    )
    if request is None:
        return
    now = database_time()
    limit = Subscription.objects.values_list("monthly_request_limit", flat=True).get(pk=row.pk)
    if limit is None or (limit_before is not None and limit_before <= limit):
        return
    if end_of_month(_moment_of(request)) != end_of_month(now):
        return
    extra = MOST_REQUESTS if limit_before is None else min(limit_before - limit, MOST_REQUESTS)
    with acting_as(actor=request.actor, kind="staff", reason=request.reason):
        ExtraQuota.objects.get_or_create(
            idempotency_key=str(request.pk),
            defaults={
                "user_id": row.user_id,
                "extra_requests": extra,
                "starts_at": now,
                "ends_at": end_of_month(now),
                "reason": request.reason,
                "granted_by": request.actor,
            },
        )


def _moment_of(request: StripeRequest) -> datetime:
    """When Stripe changes the plan."""
    if request.kind == Kind.CHANGE_PLAN:
        return request.asked_at
    return datetime.fromtimestamp(request.parameters["was"]["period_end"], UTC)
