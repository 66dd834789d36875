"""What the views say about requests: right at once, right when folded, right in between."""

import pytest

from tests.support import factories
from tests.support.sql import SQL, ago, one, query

pytestmark = pytest.mark.django_db

FOLDS = ["unfolded", "folded", "half"]


def fold() -> int:
    folded: int = one("SELECT fold_traffic()")["fold_traffic"]
    return folded


@pytest.fixture(params=FOLDS)
def between(request: pytest.FixtureRequest):
    """What happens between two halves of the rows and after them."""
    factories.forget_older_requests()

    def step(*, last: bool = False) -> None:
        if request.param == "folded" or (request.param == "half" and not last):
            fold()

    return step


def test_busiest_customers_with_their_last_hour_and_day(between) -> None:
    busy, idle = factories.subscription().user_id, factories.customer().pk
    factories.requests(busy, 30, created_at=ago("59 minutes"))
    factories.requests(busy, 5, created_at=ago("61 minutes"), status_code=500)
    factories.requests(busy, 9, created_at=ago("24 hours 1 minute"))
    between()
    factories.requests(busy, 10, created_at=ago("23 hours 59 minutes"))
    factories.requests(busy, 4, created_at=ago("23 hours"))
    factories.requests(idle, 1, created_at=ago("3 hours"))
    between(last=True)
    found = query("SELECT user_id, tier, requests_last_hour, requests_last_24h FROM v_high_volume_users")
    assert [tuple(row.values()) for row in found] == [(busy, "starter", 30, 49), (idle, "free", 0, 1)]
    assert one("SELECT failed_last_24h FROM v_high_volume_users WHERE user_id = %s", busy) == {"failed_last_24h": 5}


def test_requests_dated_ahead_of_time_are_not_of_the_last_hour_or_day(between) -> None:
    user = factories.customer().pk
    key = factories.api_key(user).pk
    factories.requests(user, 40, api_key_id=key, created_at=ago("-61 minutes"), status_code=500)
    between()
    factories.requests(user, 60, api_key_id=key, created_at=ago("-3 days"), status_code=500)
    factories.requests(user, 1, api_key_id=key)
    between(last=True)
    assert one("SELECT requests_last_hour AS hour, requests_last_24h AS day FROM v_high_volume_users") == {
        "hour": 1,
        "day": 1,
    }
    assert one("SELECT requests FROM v_slow_endpoints") == {"requests": 1}
    assert one("SELECT requests_last_24h AS day FROM v_api_key_usage_summary") == {"day": 1}
    assert query("SELECT * FROM v_repeated_failures") == []
    assert query("SELECT * FROM v_critical_alerts WHERE alert_type = 'error_rate'") == []


def test_usage_of_an_unknown_customer_is_listed_without_address() -> None:
    factories.requests(SQL("gen_random_uuid()"), 1)
    assert one("SELECT email, tier FROM v_high_volume_users") == {"email": None, "tier": None}


def test_three_failures_at_one_endpoint_within_the_hour_are_repeated() -> None:
    user = factories.customer().pk
    factories.requests(user, 2, status_code=500, endpoint="/a")
    factories.requests(user, 2, status_code=404, endpoint="/b", created_at=ago("10 minutes"))
    factories.requests(user, 5, status_code=200, endpoint="/a")
    factories.requests(user, 5, status_code=500, endpoint="/a", created_at=ago("61 minutes"))
    assert query("SELECT 1 FROM v_repeated_failures") == []
    factories.requests(user, 1, status_code=429, endpoint="/b")
    row = one("SELECT * FROM v_repeated_failures")
    assert (row["endpoint"], row["failures_last_hour"], row["last_status_code"]) == ("/b", 3, 429)


def test_percentiles_of_fresh_requests_are_exact() -> None:
    user = factories.customer().pk
    factories.requests(user, 100, response_time_ms=SQL("n"))
    row = one("SELECT * FROM v_slow_endpoints")
    assert (row["requests"], row["p95_ms"], row["p99_ms"], row["max_ms"], float(row["avg_ms"])) == (
        100,
        95,
        99,
        100,
        50.5,
    )


def test_percentiles_of_folded_requests_are_close_and_counts_exact(between) -> None:
    user = factories.customer().pk
    for since in ("23 hours 59 minutes", "12 hours", "1 minute"):
        factories.requests(user, 1000, response_time_ms=SQL("n * 3"), created_at=ago(since))
        between()
    factories.requests(user, 1000, response_time_ms=9000, created_at=ago("25 hours"))
    between(last=True)
    row = one("SELECT * FROM v_slow_endpoints")
    assert (row["requests"], row["max_ms"], float(row["avg_ms"])) == (3000, 3000, 1501.5)
    assert row["p95_ms"] == pytest.approx(2850, rel=0.05)
    assert row["p99_ms"] == pytest.approx(2970, rel=0.05)


def test_endpoints_are_told_apart_by_method_and_the_slowest_comes_first() -> None:
    user = factories.customer().pk
    factories.requests(user, 2, endpoint="/a", method="GET", response_time_ms=0)
    factories.requests(user, 1, endpoint="/a", method="POST", response_time_ms=700)
    found = query("SELECT method, requests, p95_ms FROM v_slow_endpoints")
    assert [tuple(row.values()) for row in found] == [("POST", 1, 700), ("GET", 2, 0)]


def test_trends_have_30_days_in_utc_and_count_each_customer_once_a_day(between) -> None:
    query("SET LOCAL timezone = 'Asia/Tokyo'")
    first, second = factories.customer().pk, factories.customer().pk
    midnight = "date_trunc('day', now() AT TIME ZONE 'UTC') AT TIME ZONE 'UTC'"
    factories.requests(first, 3, created_at=SQL(midnight), response_time_ms=10)
    factories.requests(first, 1, created_at=SQL(f"{midnight} - interval '1 second'"))
    factories.requests(first, 1, created_at=SQL(f"{midnight} - interval '29 days'"))
    factories.requests(first, 1, created_at=SQL(f"{midnight} - interval '29 days 1 second'"))
    between()
    factories.requests(first, 1, created_at=SQL(midnight), status_code=400, response_time_ms=60)
    factories.requests(second, 1, created_at=SQL(midnight), response_time_ms=100)
    between(last=True)
    found = query("SELECT * FROM v_api_usage_trends")
    assert len(found) == 30
    assert [row["day"] for row in found] == sorted(row["day"] for row in found)
    today = found[-1]
    assert (today["requests"], today["failed_requests"], today["active_users"]) == (5, 1, 2)
    assert (float(today["error_percent"]), float(today["avg_ms"])) == (20, 38)
    assert (found[-2]["requests"], found[0]["requests"], found[1]["requests"]) == (1, 1, 0)
    assert (found[1]["error_percent"], found[1]["avg_ms"], found[1]["active_users"]) == (None, None, 0)


def test_key_usage_adds_folded_queued_and_fresh_requests(between) -> None:
    user = factories.customer().pk
    key, unused = factories.api_key(user).pk, factories.api_key(user, revoked_at=ago("1 day")).pk
    opens = "date_trunc('month', now() AT TIME ZONE 'UTC') AT TIME ZONE 'UTC'"
    factories.requests(user, 2, api_key_id=key, created_at=SQL(f"{opens} - interval '1 second'"))
    factories.requests(user, 3, api_key_id=key, created_at=SQL(opens))
    between()
    query("SELECT roll_up_usage()")
    factories.requests(user, 4, api_key_id=key)
    factories.requests(user, 7)
    between(last=True)
    row = one("SELECT * FROM v_api_key_usage_summary WHERE api_key_id = %s", key)
    assert (row["requests_this_month"], row["usage_count"]) == (7, 9)
    last_day = one(
        "SELECT count(*) FROM api_usage WHERE api_key_id = %s AND created_at >= now() - interval '24 hours'", key
    )
    assert row["requests_last_24h"] == last_day["count"] >= 4
    assert one("SELECT last_used_at = now() AS is_now FROM v_api_key_usage_summary WHERE api_key_id = %s", key)[
        "is_now"
    ]
    row = one("SELECT * FROM v_api_key_usage_summary WHERE api_key_id = %s", unused)
    assert (row["requests_last_24h"], row["requests_this_month"], row["usage_count"]) == (0, 0, 0)
    assert row["last_used_at"] is None
    assert row["revoked_at"] is not None
