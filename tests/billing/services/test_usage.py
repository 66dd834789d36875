"""Recording requests, by SQL and in batches: a request id is counted once, whoever records it."""

import uuid
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.utils import timezone

from billing.models import ApiKey, ApiUsage, MonthlyUsageSummary
from billing.services.usage import Request, record_batch
from tests.support import factories

pytestmark = pytest.mark.django_db


@pytest.fixture
def key() -> ApiKey:
    return factories.api_key()


def request(key: ApiKey, **values: Any) -> Request:
    given = {"endpoint": "/v1/a", "method": "GET", "status_code": 200, "response_time_ms": 5}
    return Request(api_key_id=key.id, **given | values)


def recorded(*requests: Request) -> list[str]:
    """Record a batch; returns what became of each request."""
    return [str(result.status) for result in record_batch(requests)]


def record_by_sql(key: ApiKey, request_id: str | None, **values: Any) -> bool:
    given = request(key, **values)
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT record_api_usage(%s, %s, %s, %s, %s, %s, %s, request_id => %s, created_at => %s)",
            [
                key.id,
                given.endpoint,
                given.method,
                given.status_code,
                given.response_time_ms,
                given.request_bytes,
                given.response_bytes,
                request_id,
                given.created_at,
            ],
        )
        return cursor.fetchone()[0]


def total() -> int:
    return sum(MonthlyUsageSummary.objects.values_list("total_requests", flat=True))


def test_batch_is_recorded_with_every_column(key: ApiKey) -> None:
    moment = timezone.now() - timedelta(days=40)
    full = request(
        key,
        request_bytes=1,
        response_bytes=2,
        ip_address="2001:db8::1",
        error_message="a\tb",
        request_id="r",
        created_at=moment,
    )
    assert recorded(full, request(key)) == ["recorded"] * 2
    row = ApiUsage.objects.get(request_id="r")
    assert (row.user_id, row.request_bytes, row.response_bytes, row.ip_address, row.error_message, row.created_at) == (
        key.user_id, 1, 2, "2001:db8::1", "a\tb", moment,
    )  # fmt: skip
    assert total() == 2


def test_request_id_is_counted_once_across_both_ways(key: ApiKey) -> None:
    assert record_by_sql(key, "r1") is True
    assert record_by_sql(key, "r1") is False
    assert recorded(*(request(key, request_id=name) for name in ("r1", "r2", "r2", "r3"))) == [
        *("duplicate", "recorded", "duplicate", "recorded")
    ]
    assert record_by_sql(key, "r3") is False
    assert total() == 3


def test_requests_without_an_id_are_all_counted(key: ApiKey) -> None:
    assert record_by_sql(key, None)
    assert record_by_sql(key, "")
    assert recorded(request(key), request(key, request_id="")) == ["recorded"] * 2
    assert total() == 4


def test_request_id_is_known_after_its_month_was_dropped(key: ApiKey) -> None:
    long_ago = timezone.now() - timedelta(days=200)
    record_batch([request(key, request_id="old", created_at=long_ago)])
    with connection.cursor() as cursor:
        cursor.execute("SELECT create_api_usage_partitions(), cleanup_old_api_usage()")
        assert cursor.fetchone() == (0, 1)
    assert not ApiUsage.objects.exists()
    assert recorded(request(key, request_id="old", created_at=long_ago)) == ["duplicate"]
    assert record_by_sql(key, "old", created_at=long_ago) is False
    assert total() == 1


def test_two_customers_may_use_the_same_id(key: ApiKey) -> None:
    assert recorded(request(key, request_id="1"), request(factories.api_key(), request_id="1")) == ["recorded"] * 2


def test_unknown_key_refuses_its_own_request_only(key: ApiKey) -> None:
    stranger = ApiKey(id=uuid.UUID(int=7))
    refused, kept = record_batch([request(stranger), request(key, request_id="kept")])
    assert (refused.status, refused.problem) == (
        "refused",
        "There is no API key 00000000-0000-0000-0000-000000000007.",
    )
    assert kept.status == "recorded"
    assert total() == 1


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"status_code": 42}, "api_usage_status_code_http"),
        ({"response_time_ms": 2**31}, "out of range"),
        ({"endpoint": "/a\x00"}, "NUL"),
        ({"endpoint": "/\ud800"}, "surrogates not allowed"),
        ({"ip_address": "fe80::1%eth0"}, "fe80::1%eth0"),
        ({"request_id": "x" * 201}, "api_usage_request_ids_length"),
        ({"request_id": "a\x00"}, "NUL"),
    ],
)
def test_what_the_database_does_not_take_is_refused_and_the_others_are_recorded(
    key: ApiKey, change: dict[str, Any], problem: str
) -> None:
    batch = [request(key, request_id=f"r{number}") for number in range(20)]
    batch[13] = request(key, **{"request_id": "r13"} | change)
    results = record_batch(batch)
    assert [number for number, result in enumerate(results) if result.status != "recorded"] == [13]
    assert problem in str(results[13].problem)
    assert total() == 19
    # Its id is free for the request as it should have been.
    assert recorded(*batch[:13], request(key, request_id="r13")) == ["duplicate"] * 13 + ["recorded"]


def test_id_refused_with_one_request_is_taken_by_the_next_one_of_the_batch(key: ApiKey) -> None:
    assert recorded(request(key, request_id="r", status_code=42), request(key, request_id="r")) == [
        "refused",
        "recorded",
    ]


@pytest.mark.parametrize(
    "change",
    [
        {"endpoint": "/v1/b"},
        {"method": "PUT"},
        {"status_code": 500},
        {"response_time_ms": 6},
        {"request_bytes": 1},
        {"response_bytes": 0},
        {"created_at": timezone.now()},
    ],
    ids=lambda change: next(iter(change)),
)
def test_id_that_comes_back_with_another_request_is_a_conflict(
    key: ApiKey, change: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    first, other = request(key, request_id="1"), request(key, request_id="1", **change)
    assert recorded(first, first, other) == ["recorded", "duplicate", "conflict"]
    assert recorded(first, other) == ["duplicate", "conflict"]
    assert f"1 requests of customer {key.user_id} are not counted" in caplog.text
    assert total() == 1
    assert conflicts() == 1


def test_both_ways_agree_about_what_is_the_same_request(key: ApiKey) -> None:
    full = {"request_bytes": 0, "response_bytes": 7, "created_at": timezone.now() - timedelta(days=3, microseconds=7)}
    for number, values in enumerate(({}, full)):
        assert record_by_sql(key, f"sql{number}", **values)
        assert recorded(request(key, request_id=f"sql{number}", **values)) == ["duplicate"]
        assert recorded(request(key, request_id=f"batch{number}", **values)) == ["recorded"]
        assert not record_by_sql(key, f"batch{number}", **values)
    assert conflicts() == 0
    assert not record_by_sql(key, "sql0", endpoint="/v1/b")
    assert conflicts() == 1


def conflicts() -> float:
    """What the check says."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT value FROM v_system_health WHERE check_name = 'request_id_conflicts'")
        return float(cursor.fetchone()[0])


def test_empty_batch_counts_nothing() -> None:
    assert record_batch([]) == []


def test_ledger_has_its_own_retention(key: ApiKey) -> None:
    record_by_sql(key, "r1")
    with connection.cursor() as cursor:
        cursor.execute("UPDATE api_usage_request_ids SET recorded_at = now() - interval '401 days'")
        cursor.execute("SELECT cleanup_api_usage_request_ids()")
        assert cursor.fetchone() == (1,)
    assert record_by_sql(key, "r1") is True
