"""Recording requests, by SQL and in batches: a request id is counted once, whoever records it."""

import uuid
from datetime import timedelta
from typing import Any

import pytest
from django.db import IntegrityError, connection
from django.utils import timezone

from billing.models import ApiKey, ApiUsage, MonthlyUsageSummary
from billing.services.usage import Request, record_batch
from glyphforge.errors import Refused
from tests.support import factories

pytestmark = pytest.mark.django_db


@pytest.fixture
def key() -> ApiKey:
    return factories.api_key()


def request(key: ApiKey, **values: Any) -> Request:
    given = {"endpoint": "/v1/a", "method": "GET", "status_code": 200, "response_time_ms": 5}
    return Request(api_key_id=key.id, **given | values)


def record_by_sql(key: ApiKey, request_id: str | None) -> bool:
    with connection.cursor() as cursor:
        cursor.execute("SELECT record_api_usage(%s, '/v1/a', 'GET', 200, 5, request_id => %s)", [key.id, request_id])
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
    assert record_batch([full, request(key)]) == 2
    row = ApiUsage.objects.get(request_id="r")
    assert (row.user_id, row.request_bytes, row.response_bytes, row.ip_address, row.error_message, row.created_at) == (
        key.user_id, 1, 2, "2001:db8::1", "a\tb", moment,
    )  # fmt: skip
    assert total() == 2


def test_request_id_is_counted_once_across_both_ways(key: ApiKey) -> None:
    assert record_by_sql(key, "r1") is True
    assert record_by_sql(key, "r1") is False
    assert record_batch([request(key, request_id=name) for name in ("r1", "r2", "r2", "r3")]) == 2
    assert record_by_sql(key, "r3") is False
    assert total() == 3


def test_requests_without_an_id_are_all_counted(key: ApiKey) -> None:
    assert record_by_sql(key, None)
    assert record_by_sql(key, "")
    assert record_batch([request(key), request(key, request_id="")]) == 2
    assert total() == 4


def test_request_id_is_known_after_its_month_was_dropped(key: ApiKey) -> None:
    record_batch([request(key, request_id="old", created_at=timezone.now() - timedelta(days=200))])
    with connection.cursor() as cursor:
        cursor.execute("SELECT create_api_usage_partitions(), cleanup_old_api_usage()")
        assert cursor.fetchone() == (0, 1)
    assert not ApiUsage.objects.exists()
    assert record_batch([request(key, request_id="old")]) == 0
    assert record_by_sql(key, "old") is False
    assert total() == 1


def test_two_customers_may_use_the_same_id(key: ApiKey) -> None:
    assert record_batch([request(key, request_id="1"), request(factories.api_key(), request_id="1")]) == 2


def test_unknown_key_refuses_the_whole_batch(key: ApiKey) -> None:
    stranger = ApiKey(id=uuid.UUID(int=7))
    with pytest.raises(Refused, match="There is no API key 00000000-0000-0000-0000-000000000007"):
        record_batch([request(key, request_id="kept"), request(stranger)])
    assert total() == 0


def test_impossible_status_is_refused(key: ApiKey) -> None:
    with pytest.raises(IntegrityError, match="api_usage_status_code_http"):
        record_batch([request(key, status_code=42)])


def test_empty_batch_counts_nothing() -> None:
    assert record_batch([]) == 0


def test_ledger_has_its_own_retention(key: ApiKey) -> None:
    record_by_sql(key, "r1")
    with connection.cursor() as cursor:
        cursor.execute("UPDATE api_usage_request_ids SET recorded_at = now() - interval '401 days'")
        cursor.execute("SELECT cleanup_api_usage_request_ids()")
        assert cursor.fetchone() == (1,)
    assert record_by_sql(key, "r1") is True
