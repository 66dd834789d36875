"""Requests to the API: skewed over customers, endpoints and hours as in life, exactly as many as asked for."""

import math
import random
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import accumulate
from typing import NamedTuple

from billing.models import Tier, User
from demo.seed.customers import Customer, Trouble

DAYS = 90
FREE_LIMIT = 100
# Customers who are not near their limit stay below this share of it.
COMFORTABLE = 0.75
# Days and weeks as businesses live them; the factor is the traffic relative to the busiest hour.
HOURS = (20, 16, 14, 13, 14, 18, 28, 45, 66, 84, 94, 98, 92, 95, 100, 98, 92, 80, 66, 54, 46, 40, 32, 25)
WEEKEND = 0.45
GROWTH_DAYS = 140.0


class Endpoint(NamedTuple):
    """An operation of the API and how it is used.

    `share` is its weight among all, `median_ms` its usual time, `failing` the share of requests that fail.
    """

    method: str
    path: str
    share: float
    median_ms: float
    failing: float


ENDPOINTS = (
    Endpoint("POST", "/v1/glyphs/render", 40, 85, 0.012),
    Endpoint("GET", "/v1/glyphs", 18, 22, 0.004),
    Endpoint("POST", "/v1/documents/build", 13, 240, 0.02),
    Endpoint("GET", "/v1/documents/status", 9, 14, 0.003),
    Endpoint("POST", "/v1/schemas/validate", 7, 48, 0.06),
    Endpoint("GET", "/v1/schemas", 5, 19, 0.004),
    Endpoint("POST", "/v1/templates", 3, 65, 0.03),
    Endpoint("GET", "/v1/templates", 2.5, 18, 0.004),
    Endpoint("POST", "/v1/schemas/infer", 1.6, 2600, 0.05),
    Endpoint("DELETE", "/v1/templates", 0.5, 30, 0.02),
    Endpoint("POST", "/v1/exports", 0.4, 1450, 0.04),
)
FAILURES = ((400, 30, "invalid_request"), (401, 10, "invalid_key"), (404, 14, "not_found"), (422, 20, "unprocessable"),
            (429, 14, "rate_limited"), (500, 8, "internal_error"), (503, 4, "unavailable"))  # fmt: skip
BURST_ENDPOINT = ENDPOINTS[2]


class Request(NamedTuple):
    """One row of api_usage, in the order of COLUMNS."""

    user_id: str
    api_key_id: str | None
    endpoint: str
    method: str
    status_code: int
    response_time_ms: int
    request_bytes: int
    response_bytes: int
    ip_address: str
    error_message: str | None
    request_id: str
    created_at: str


COLUMNS = Request._fields


def months(now: datetime) -> list[datetime]:
    """The first moments (UTC) of the months that usage falls into, oldest first."""
    month = (now - timedelta(days=DAYS)).replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    found = []
    while month <= now:
        found.append(month)
        month = (month + timedelta(days=32)).replace(day=1)
    return found


class Traffic:
    """Draws `total` requests of these customers within the last DAYS days."""

    def __init__(self, rng: random.Random, customers: list[Customer], total: int, now: datetime) -> None:
        self._rng = rng
        self._now = now.timestamp()
        self._month_starts = [month.timestamp() for month in months(now)]
        active = [each for each in customers if each.status == User.Status.ACTIVE]
        apart = {Trouble.NEAR_LIMIT, Trouble.ORPHANED}
        self._customers = [each for each in active if each.trouble not in apart] or customers
        self._weights = list(accumulate(each.activity for each in self._customers))
        self._unlimited = [each for each in self._customers if each.tier == Tier.ENTERPRISE]
        self._used: Counter[tuple[int, int]] = Counter()
        self._special = list(self._troubled(active, total))
        self._ordinary = total - len(self._special)

    def requests(self) -> Iterator[Request]:
        """Every request, the ordinary ones roughly in the order of time."""
        moments = self._moments(self._ordinary)
        indexes = self._rng.choices(range(len(self._customers)), cum_weights=self._weights, k=len(moments))
        endpoints = self._rng.choices(ENDPOINTS, [each.share for each in ENDPOINTS], k=len(moments))
        for moment, index, endpoint in zip(moments, indexes, endpoints, strict=True):
            customer, at = self._assign(index, moment)
            yield self._request(customer, at, endpoint, failing=endpoint.failing)
        yield from self._special

    def _assign(self, index: int, moment: float) -> tuple[Customer, float]:
        """The customer and a moment in the life of the account; beyond the limit somebody unlimited takes it."""
        customer = self._customers[index]
        moment = self._within_account_life(customer, moment)
        if customer.tier == Tier.FREE:
            month = bisect_right(self._month_starts, moment)
            if self._used[index, month] >= FREE_LIMIT * COMFORTABLE and self._unlimited:
                taker = self._rng.choice(self._unlimited)
                return taker, self._within_account_life(taker, moment)
            self._used[index, month] += 1
        return customer, moment

    def _within_account_life(self, customer: Customer, moment: float) -> float:
        """The moment, or any of the account's life where it was not there yet."""
        created = customer.created_at.timestamp()
        return moment if moment >= created else created + self._rng.random() * (self._now - created)

    def _moments(self, count: int) -> list[float]:
        """Sorted times: an hour drawn by its share of the traffic, then evenly within it."""
        starts, shares = [], []
        hour = math.floor(self._now / 3600) * 3600
        for ago in range(DAYS * 24):
            start = hour - ago * 3600
            when = datetime.fromtimestamp(start, UTC)
            share = HOURS[when.hour] * (WEEKEND if when.weekday() >= 5 else 1.0) * math.exp(-ago / 24 / GROWTH_DAYS)
            starts.append(start)
            # The current hour has only just begun.
            shares.append(share * (self._now - start) / 3600 if ago == 0 else share)
        hours = self._rng.choices(starts, shares, k=count)
        return sorted(start + self._rng.random() * min(3600.0, self._now - start) for start in hours)

    def _troubled(self, customers: list[Customer], total: int) -> Iterator[Request]:
        """What the monitoring shall find, within a third of the total."""
        left = total // 3
        for customer in customers:
            if customer.trouble is Trouble.ERROR_BURST:
                wanted, within, failing = self._rng.randint(58, 90), 50 * 60, 1.0
            elif customer.trouble is Trouble.SOME_ERRORS:
                wanted, within, failing = self._rng.randint(12, 30), 50 * 60, 1.0
            elif customer.trouble is Trouble.NEAR_LIMIT:
                wanted, within, failing = self._rng.choice((81, 84, 88, 92, 95, 97, 99, 100)), 0, 0.02
            else:
                continue
            if wanted > left:
                continue
            left -= wanted
            since = max(self._now - within if within else self._month_starts[-1], customer.created_at.timestamp())
            for _ in range(wanted):
                at = since + self._rng.random() * (self._now - since)
                yield self._request(customer, at, BURST_ENDPOINT if within else ENDPOINTS[0], failing=failing)

    def _request(self, customer: Customer, at: float, endpoint: Endpoint, *, failing: float) -> Request:
        rng = self._rng
        status, error = (201 if endpoint.method == "POST" else 200), None
        if rng.random() < failing:
            if failing == 1.0:
                status, error = 500, "internal_error"
            else:
                status, _, error = rng.choices(FAILURES, [weight for _, weight, _ in FAILURES])[0]
        return Request(
            user_id=str(customer.id),
            api_key_id=self._key(customer, at),
            endpoint=endpoint.path,
            method=endpoint.method,
            status_code=status,
            response_time_ms=int(endpoint.median_ms * math.exp(rng.gauss(0, 0.55))) + 1,
            request_bytes=int(rng.expovariate(1 / 1800)) + 120,
            response_bytes=int(rng.expovariate(1 / 9000)) + 90,
            ip_address=customer.ip,
            error_message=error,
            request_id=f"req_{rng.getrandbits(80):020x}",
            created_at=datetime.fromtimestamp(at, UTC).isoformat(),
        )

    def _key(self, customer: Customer, at: float) -> str | None:
        """A key that was good at the time; the first one most often. None: called from the web application."""
        usable = [
            key
            for key in customer.keys
            if key.created_at.timestamp() <= at and (key.revoked_at is None or key.revoked_at.timestamp() > at)
        ]
        if not usable:
            return None
        return str(usable[0].id if len(usable) == 1 or self._rng.random() < 0.75 else self._rng.choice(usable).id)
