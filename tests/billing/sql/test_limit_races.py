"""No limit lets more or less through than it says, however many ask at once. Everything here commits."""

import psycopg
import pytest
from psycopg import IsolationLevel

from tests.support.waiting import wait_for
from tests.support.writers import CHECK, LEASE, a_key, at_once, granted, rows

pytestmark = pytest.mark.django_db
each_level = pytest.mark.parametrize("level", [IsolationLevel.READ_COMMITTED, IsolationLevel.SERIALIZABLE])


@pytest.mark.one_day
@each_level
def test_month_never_lets_more_or_less_through_than_the_limit(shared: str, level: IsolationLevel) -> None:
    key = a_key(shared, month=100)
    rows(shared, f"INSERT INTO api_keys (user_id, key_prefix, key_hash) SELECT user_id, 'q', 'h' FROM api_keys"
                   f" WHERE id = '{key}' RETURNING id")  # fmt: skip
    keys = rows(shared, f"SELECT id FROM api_keys WHERE user_id = (SELECT user_id FROM api_keys WHERE id = '{key}')")
    rows(shared, f"SELECT record_api_usage('{key}', '/', 'GET', 200, 1) FROM generate_series(1, 20)")
    assert sum(at_once(shared, 8, lambda c: granted(c, level, CHECK, *([k] for (k,) in keys * 10)))) == 80
    checks = [granted(psycopg.connect(shared, autocommit=True), each, CHECK, [key]) for each in IsolationLevel]
    assert checks == [0] * len(checks)


@each_level
@pytest.mark.parametrize(("statement", "permits"), [(CHECK, []), (LEASE, [4])])
def test_minute_never_lets_more_or_less_through_than_the_limit(
    shared: str, level: IsolationLevel, statement: str, permits: list[object]
) -> None:
    def allowed_within_one_minute() -> int | None:
        """None when the window ended meanwhile: then the next one is counted."""
        key = a_key(shared, minute=30)
        minute = "SELECT date_trunc('minute', clock_timestamp())"
        began = rows(shared, minute)
        allowed = sum(at_once(shared, 8, lambda c: granted(c, level, statement, *([key, *permits] for _ in range(10)))))
        return allowed if rows(shared, minute) == began else None

    assert wait_for(allowed_within_one_minute) == 30


@pytest.mark.one_day
def test_callers_at_both_levels_never_pass_the_limit_together(shared: str) -> None:
    """Who has an older snapshot than the other's count fails to serialize and tries again."""
    levels = iter([IsolationLevel.READ_COMMITTED, IsolationLevel.SERIALIZABLE] * 4)
    key = a_key(shared, month=60)

    def check(connection: psycopg.Connection) -> int:
        level, allowed = next(levels), 0
        while allowed < 20:
            try:
                if not granted(connection, level, CHECK, [key]):
                    break
            except psycopg.errors.SerializationFailure:
                continue
            allowed += 1
        return allowed

    assert sum(at_once(shared, 8, check)) == 60


def grant(conninfo: str, key: str, values: str) -> None:
    """Extra quota of the key's customer: `values` are extra_requests, starts_at and ends_at as SQL."""
    rows(
        conninfo,
        "INSERT INTO entitlement_grants (user_id, reason, extra_requests, starts_at, ends_at)"
        f" SELECT user_id, 'a fair', {values} FROM api_keys WHERE id = '{key}' RETURNING id",
    )


@pytest.mark.one_day
@each_level
def test_extra_quota_lets_through_what_it_grants_and_nothing_before_it_begins_or_after_it_ends(
    shared: str, level: IsolationLevel
) -> None:
    key = a_key(shared, month=20)
    grant(shared, key, "30, now() - interval '1 hour', now() + interval '1 hour'")
    grant(shared, key, "500, now() + interval '1 hour', now() + interval '2 hours'")
    grant(shared, key, "500, now() - interval '1 hour', now() - interval '1 microsecond'")
    assert sum(at_once(shared, 8, lambda c: granted(c, level, CHECK, *([key] for _ in range(10))))) == 50
    rows(shared, "UPDATE entitlement_grants SET ends_at = clock_timestamp() WHERE extra_requests = 30 RETURNING id")
    grant(shared, key, "29, now(), now() + interval '1 hour'")
    assert sum(at_once(shared, 2, lambda c: granted(c, level, CHECK, [key]))) == 0
    grant(shared, key, "3, now(), now() + interval '1 hour'")
    assert sum(at_once(shared, 8, lambda c: granted(c, level, CHECK, [key]))) == 2


@pytest.mark.one_day
@each_level
def test_extra_quota_that_ends_while_they_ask_is_worth_nothing_to_who_asks_then(
    shared: str, level: IsolationLevel
) -> None:
    key = a_key(shared, month=1)
    grant(shared, key, "100000, clock_timestamp(), clock_timestamp() + interval '200 milliseconds'")
    ((ends_at,),) = rows(shared, "SELECT max(ends_at) FROM entitlement_grants WHERE extra_requests = 100000")

    def ask(connection: psycopg.Connection) -> list[tuple[bool, bool]]:
        """For each check whether the end was past when it was asked for, and whether it was allowed."""
        asked = []
        while sum(is_over for is_over, _ in asked) < 3:
            moment = connection.execute("SELECT clock_timestamp()").fetchone()
            asked.append((bool(moment and moment[0] >= ends_at), granted(connection, level, CHECK, [key]) == 1))
        return asked

    asked = [one for of_worker in at_once(shared, 8, ask) for one in of_worker]
    assert (False, True) in asked
    assert (True, True) not in asked


@pytest.mark.one_day
def test_only_what_was_served_counts_to_the_request(shared: str) -> None:
    """Each records what it was told: an answer, every third a failure of the server; or the refusal, with 429."""
    key = a_key(shared, month=40)
    rows(shared, "UPDATE quota_rule SET counts = 'served' RETURNING 1")
    record = "SELECT record_api_usage(%s, '/', 'GET', %s, 1)"

    def serve(connection: psycopg.Connection) -> None:
        for number in range(15):
            allowed = granted(connection, IsolationLevel.READ_COMMITTED, CHECK, [key])
            status = 429 if not allowed else 503 if number % 3 == 0 else 200
            connection.execute(record.encode(), [key, status])

    served = f"SELECT count(*) FROM api_usage WHERE api_key_id = '{key}' AND status_code = 200"
    try:
        at_once(shared, 8, serve)
        assert rows(shared, served)[0][0] <= 40
        with psycopg.connect(shared, autocommit=True) as connection:
            while granted(connection, IsolationLevel.READ_COMMITTED, CHECK, [key]):
                connection.execute(record.encode(), [key, 200])
        assert rows(shared, served) == [(40,)]
    finally:
        rows(shared, "UPDATE quota_rule SET counts = 'all' RETURNING 1")


@pytest.mark.one_day
@pytest.mark.parametrize("level", IsolationLevel)
def test_corrections_at_once_never_take_more_than_counts(shared: str, level: IsolationLevel) -> None:
    key = a_key(shared)
    rows(shared, f"SELECT record_api_usage('{key}', '/', 'GET', 200, 1) FROM generate_series(1, 5)")
    correct = (
        "SELECT correct_usage(user_id, date_trunc('month', now() AT TIME ZONE 'UTC')::date, -2, 'r')"
        " FROM api_keys WHERE id = %s"
    )

    def take(connection: psycopg.Connection) -> int:
        connection.isolation_level = level
        try:
            connection.execute(correct.encode(), [key])
        except (psycopg.errors.IntegrityError, psycopg.errors.SerializationFailure):
            return 0
        return 1

    taken = sum(at_once(shared, 6, take))
    assert 1 <= taken <= 2
    ((used, numbers),) = rows(
        shared,
        "SELECT q.used_requests, (SELECT array_agg(c.number ORDER BY c.number) FROM usage_corrections AS c"
        " WHERE c.user_id = q.user_id) FROM quota_usage AS q INNER JOIN api_keys AS k USING (user_id)"
        f" WHERE k.id = '{key}'",
    )
    assert (used, numbers) == (5 - 2 * taken, list(range(1, taken + 1)))
