"""check_rate_limit() and lease_rate_limit() within one session; the races are in test_rate_limit_races."""

from datetime import timedelta

import pytest

from tests.support import factories
from tests.support.sql import Run
from tests.support.waiting import wait_for_room

pytestmark = pytest.mark.one_day


@pytest.fixture(autouse=True)
def _generous_minute(run: Run) -> None:
    wait_for_room(60, 10)  # a window that ended in the middle of a test would count anew
    run("UPDATE plans SET rate_limit_per_minute = 5, monthly_request_limit = 8 WHERE tier = 'free'")


def check(run: Run, key: str) -> tuple[bool, int, str]:
    allowed, remaining, reason = run("SELECT allowed, remaining, reason FROM check_rate_limit(%s)", key)[0]
    return allowed, remaining, reason


def test_minute_then_month_run_out(run: Run, key: str) -> None:
    assert [check(run, key) for _ in range(6)] == [
        (True, 4, "ok"), (True, 3, "ok"), (True, 2, "ok"), (True, 1, "ok"), (True, 0, "ok"), (False, 0, "rate"),
    ]  # fmt: skip
    run("UPDATE rate_limits SET window_start = window_start - interval '1 minute' WHERE window_seconds = 60")
    assert [check(run, key) for _ in range(4)] == [
        (True, 2, "ok"), (True, 1, "ok"), (True, 0, "ok"), (False, 0, "quota"),
    ]  # fmt: skip


def test_reset_is_the_end_of_the_window(run: Run, key: str) -> None:
    assert run(
        "SELECT reset_at - clock_timestamp() <= '1 minute', reset_at > clock_timestamp() FROM check_rate_limit(%s)", key
    ) == [(True, True)]
    run("UPDATE subscriptions SET monthly_request_limit = 1")
    assert run(
        "SELECT reason,"
        " reset_at AT TIME ZONE 'UTC' = date_trunc('month', now() AT TIME ZONE 'UTC') + interval '1 month'"
        " FROM check_rate_limit(%s)",
        key,
    ) == [("quota", True)]


def test_recorded_usage_counts_against_the_month(run: Run, user: str, key: str) -> None:
    assert check(run, key)[0]
    factories.requests(user, 7)
    assert check(run, key) == (True, 0, "ok")
    assert check(run, key) == (False, 0, "quota")


def test_keys_of_a_customer_share_the_month_but_not_the_minute(run: Run, user: str, key: str) -> None:
    other = str(factories.api_key(user).pk)
    assert [check(run, key)[2] for _ in range(6)] == ["ok"] * 5 + ["rate"]
    assert [check(run, other)[2] for _ in range(4)] == ["ok"] * 3 + ["quota"]


@pytest.mark.parametrize(
    "spoil",
    [
        "UPDATE api_keys SET revoked_at = now()",
        "UPDATE api_keys SET expires_at = now() - interval '1 second'",
        "UPDATE users SET status = 'suspended'",
        "UPDATE users SET status = 'deleted'",
        "DELETE FROM api_keys",
    ],
)
def test_unusable_key_is_refused_and_not_counted(run: Run, key: str, spoil: str) -> None:
    run(spoil)
    assert run("SELECT * FROM check_rate_limit(%s)", key) == [(False, 0, None, "key")]
    assert run("SELECT count(*) FROM rate_limits") == [(0,)]


def lease(run: Run, key: str, permits: int) -> tuple[int, str]:
    return run("SELECT granted, reason FROM lease_rate_limit(%s, %s)", key, permits)[0]


def test_lease_gives_what_is_left_of_the_tighter_window_and_counts_it_at_once(run: Run, user: str, key: str) -> None:
    other = str(factories.api_key(user).pk)
    assert lease(run, key, 3) == (3, "ok")
    assert lease(run, key, 3) == (2, "ok")
    assert lease(run, key, 3) == (0, "rate")
    assert lease(run, other, 2_000_000_000) == (3, "ok")
    assert (check(run, other), lease(run, other, 1)) == ((False, 0, "quota"), (0, "quota"))
    assert run("SELECT window_seconds = 60, sum(request_count) FROM rate_limits GROUP BY 1 ORDER BY 1") == [
        (False, 8), (True, 8),
    ]  # fmt: skip


def test_lease_takes_recorded_usage_into_account(run: Run, user: str, key: str) -> None:
    factories.requests(user, 6)
    assert lease(run, key, 5) == (2, "ok")
    assert lease(run, key, 5) == (0, "quota")


def test_lease_ends_with_its_minute_and_after_five_seconds_at_most(run: Run, key: str) -> None:
    ((expires_at, now),) = run("SELECT expires_at, clock_timestamp() FROM lease_rate_limit(%s, 1)", key)
    ((minute_end,),) = run("SELECT expires_at FROM rate_limits WHERE window_seconds = 60")
    assert now < expires_at <= min(now + timedelta(seconds=5), minute_end)
    run("UPDATE api_keys SET revoked_at = now()")
    assert run("SELECT * FROM lease_rate_limit(%s, 1)", key) == [(0, None, "key")]


def test_usage_that_is_not_folded_counts_once_less_than_a_tenth_is_left(run: Run, user: str, key: str) -> None:
    run("UPDATE subscriptions SET monthly_request_limit = 20000")
    assert check(run, key)[0]
    run("INSERT INTO api_usage (user_id, api_key_id, endpoint, method, status_code, response_time_ms)"
        " SELECT %s, %s, '/', 'GET', 200, 1 FROM generate_series(1, 19999)", user, key)  # fmt: skip
    assert check(run, key)[0]
    run("UPDATE rate_limits SET request_count = 18000 WHERE window_seconds > 60")
    assert check(run, key) == (True, 0, "ok")
    assert check(run, key) == (False, 0, "quota")


def test_usage_that_is_folded_counts_at_once(run: Run, user: str, key: str) -> None:
    run("UPDATE subscriptions SET monthly_request_limit = 20000")
    assert check(run, key)[0]
    factories.requests(user, 7)
    run("UPDATE api_usage_deltas SET total_requests = 19999, total_response_time_ms = 0")
    run("SELECT roll_up_usage()")
    assert check(run, key) == (False, 0, "quota")


def test_queue_is_not_read_for_a_month_with_room(run: Run, key: str) -> None:
    run("UPDATE subscriptions SET monthly_request_limit = 20000")
    run("ALTER TABLE api_usage_deltas RENAME TO elsewhere")
    assert check(run, key)[0]


def test_key_that_changed_hands_counts_for_its_new_user(run: Run, key: str) -> None:
    assert check(run, key)[0]
    heir = factories.customer()
    run("UPDATE api_keys SET user_id = %s", heir.pk)
    assert [check(run, key)[2] for _ in range(2)] == ["ok", "ok"]
    assert run("SELECT user_id FROM rate_limits WHERE window_seconds > 60") == [(heir.pk,)]


def test_unlimited_plan_still_has_a_minute(run: Run, key: str) -> None:
    run("UPDATE subscriptions SET tier = 'enterprise'")
    assert check(run, key) == (True, 999, "ok")


def test_without_subscription_the_free_plan_stands(run: Run, key: str) -> None:
    run("UPDATE subscriptions SET status = 'canceled'")
    assert check(run, key) == (True, 4, "ok")


def test_ended_windows_are_cleaned_up(run: Run, key: str) -> None:
    check(run, key)
    run("UPDATE rate_limits SET window_start = now() - interval '2 hours', expires_at = now() - interval '1 hour'"
        " WHERE window_seconds = 60")  # fmt: skip
    assert run("SELECT cleanup_rate_limits()") == [(1,)]
    assert run("SELECT cleanup_rate_limits()") == [(0,)]
    assert run("SELECT count(*) FROM rate_limits") == [(1,)]


def test_state_is_unlogged(run: Run) -> None:
    assert run("SELECT relpersistence::text FROM pg_class WHERE oid = 'rate_limits'::regclass") == [("u",)]
