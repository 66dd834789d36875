"""What customers' months will come to, by the database's `usage_forecasts()`."""

from collections.abc import Iterable
from datetime import date
from uuid import UUID

from django.db import connection

from billing.customer_panels import UsageForecast
from billing.models import Tier

# What `forecast_of` takes, of usage_forecasts() AS f.
FORECAST = "f.monthly_request_limit, f.requests, f.expected_requests, f.reached_on, f.fitting_tier"


def forecast_of(
    limit: int | None, requests: int | None, expected: int | None, reached_on: date | None, tier: str | None
) -> UsageForecast | None:
    """A row as the pages say it; None for the empty row of a customer without a live subscription."""
    if requests is None or expected is None or tier is None:
        return None
    return UsageForecast(limit, requests, expected, reached_on, str(Tier(tier).label))


def usage_forecasts(user_ids: Iterable[UUID]) -> dict[UUID, UsageForecast]:
    """The forecast of each of these customers who has a live subscription, by their ids, in one query."""
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT f.user_id, {FORECAST} FROM usage_forecasts(%s::uuid[]) AS f", [list(user_ids)])
        found = {user_id: forecast_of(*figures) for user_id, *figures in cursor.fetchall()}
    return {user_id: forecast for user_id, forecast in found.items() if forecast}
