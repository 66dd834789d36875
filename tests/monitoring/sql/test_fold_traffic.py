"""fold_traffic() counts each request once, whoever writes at the same time."""

import psycopg
import pytest

from tests.support import factories
from tests.support.database import session
from tests.support.sql import ago, one, query
from tests.support.waiting import wait_for

INSERT = (
    "INSERT INTO api_usage (user_id, endpoint, method, status_code, response_time_ms)"
    " VALUES (gen_random_uuid(), '/', 'GET', 200, 1)"
)


def fold(limit: int = 500_000) -> int:
    folded: int = one("SELECT fold_traffic(%s)", limit)["fold_traffic"]
    return folded


def total() -> int:
    return int(one("SELECT coalesce(sum(requests), 0) AS n FROM traffic_days")["n"])


@pytest.mark.django_db
def test_each_request_is_folded_once_in_bounded_steps() -> None:
    factories.forget_older_requests()
    factories.requests(factories.customer(), 25, created_at=ago("40 days"))
    factories.requests(factories.customer(), 5)
    assert [fold(20), fold(20), fold(20)] == [20, 10, 0]
    assert total() == 30


@pytest.mark.django_db
def test_rows_moved_out_of_the_default_partition_are_not_folded_again() -> None:
    factories.forget_older_requests()
    user = factories.customer().pk
    factories.requests(user, 2, created_at=ago("-300 days"))
    assert fold() == 2
    query("SELECT create_api_usage_partitions()")
    assert fold() == 0
    assert total() == 2


@pytest.mark.django_db
@pytest.mark.parametrize("limit", [0, -1, None])
def test_a_senseless_limit_is_refused_by_name(limit: int | None) -> None:
    with pytest.raises(Exception, match="max_requests must be at least 1"):
        query("SELECT fold_traffic(%s)", limit)


@pytest.mark.django_db(transaction=True)
def test_request_committed_after_a_later_one_was_folded_is_not_lost() -> None:
    with session() as slow, session(autocommit=True) as quick:
        slow.execute(INSERT)
        quick.execute(INSERT)
        assert fold() == 0, "the slow transaction may still commit an id below the goal"
        assert one("SELECT sum(requests) AS n FROM v_api_usage_trends")["n"] == 1
        slow.commit()
        assert fold() == 2
        assert fold() == 0
    assert total() == one("SELECT sum(requests) AS n FROM v_api_usage_trends")["n"] == 2


@pytest.mark.django_db(transaction=True)
def test_writers_that_began_later_do_not_hold_the_fold_back() -> None:
    with session() as first, session() as second:
        first.execute(INSERT)
        assert fold() == 0
        second.execute(INSERT)
        first.commit()
        assert fold() == 1
        second.rollback()
    assert total() == 1


@pytest.mark.django_db(transaction=True)
def test_writers_that_end_within_a_second_are_waited_for() -> None:
    with session() as writer, session(autocommit=True) as other:
        writer.execute(INSERT)
        other.pgconn.send_query(b"SELECT fold_traffic()")
        wait_for(lambda: one("SELECT count(*) AS n FROM pg_stat_activity WHERE wait_event = 'PgSleep'")["n"])
        writer.commit()
        assert other.pgconn.get_result().get_value(0, 0) == b"1"
        assert other.pgconn.get_result() is None


@pytest.mark.django_db
def test_older_snapshots_are_refused() -> None:
    with session() as other:
        other.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        with pytest.raises(psycopg.errors.InvalidTransactionState, match="needs read committed"):
            other.execute("SELECT fold_traffic()")
