"""The maintenance functions, called as the operator's handbook shows them."""

import pytest
from django.db import DatabaseError

from tests.support import factories
from tests.support.sql import Run, ago

FAIL = "ALTER FUNCTION {} RENAME TO renamed_away"


def request(user: str, *, days_ago: int) -> None:
    factories.requests(user, created_at=ago(f"{days_ago} days"))


@pytest.mark.parametrize(
    ("call", "complaint"),
    [
        ("cleanup_old_api_usage(0)", "days must be at least 1, not 0"),
        ("cleanup_old_api_usage(NULL)", "days must be at least 1, not NULL"),
        ("cleanup_webhook_events(-3)", "days must be at least 1, not -3"),
        ("cleanup_audit_log(0)", "days must be at least 1, not 0"),
        ("cleanup_api_usage_request_ids(0)", "days must be at least 1, not 0"),
        ("create_api_usage_partitions(-1)", "months must be between 0 and 120, not -1"),
        ("create_api_usage_partitions(121)", "months must be between 0 and 120, not 121"),
        ("create_audit_log_partitions(NULL)", "months must be between 0 and 120, not NULL"),
        ("retry_failed_webhooks(0)", "max_attempts must be at least 1, not 0"),
        ("start_webhook_processing(NULL)", "event_id is empty"),
        ("complete_webhook_processing('', NULL)", "event_id is empty"),
        ("check_rate_limit(NULL)", "api_key_id is NULL"),
        ("record_api_usage(NULL, '/', 'GET', 200, 1)", "there is no API key NULL"),
    ],
)
def test_wrong_argument_is_an_error_that_says_so(run: Run, call: str, complaint: str) -> None:
    with pytest.raises(DatabaseError, match=f"{call.partition('(')[0]}: {complaint}"):
        run(f"SELECT {call}")


@pytest.mark.parametrize(
    "name",
    ["old_api_usage", "webhook_events", "api_usage_request_ids", "audit_log", "authentication_failures", "alerts"],
)
def test_any_number_of_days_can_be_kept(run: Run, name: str) -> None:
    assert run(f"SELECT cleanup_{name}(2147483647)") == [(0,)]


@pytest.mark.smoke
@pytest.mark.parametrize("name", ["run_daily_maintenance", "run_weekly_maintenance"])
def test_every_task_succeeds_on_a_healthy_database(run: Run, name: str) -> None:
    rows = run(f"SELECT task, status, error FROM {name}()")
    assert rows
    assert {(status, error) for _, status, error in rows} == {("succeeded", None)}


def test_failing_task_neither_stops_nor_undoes_the_others(run: Run, user: str) -> None:
    run(FAIL.format("cleanup_webhook_events(int)"))
    request(user, days_ago=0)
    request(user, days_ago=200)
    run("SELECT create_api_usage_partitions()")
    rows = {row[0]: row[1:] for row in run("SELECT task, status, rows_affected, error FROM run_daily_maintenance()")}
    assert rows["cleanup_webhook_events"][0] == "failed"
    assert "cleanup_webhook_events() does not exist" in rows["cleanup_webhook_events"][2]
    assert rows["roll_up_usage"][:2] == ("succeeded", 2)
    assert rows["sync_subscription_usage"][:2] == ("succeeded", 1)
    assert rows["cleanup_old_api_usage"][:2] == ("succeeded", 1)


class TestWebhookCleanup:
    def test_failed_dead_and_recent_events_stay(self, run: Run) -> None:
        run(
            "INSERT INTO stripe_webhook_events (stripe_event_id, status, received_at, processed_at)"
            " SELECT 'evt_' || s || d, s, now() - d * interval '1 day',"
            " CASE WHEN s = 'processed' THEN now() - d * interval '1 day' END"
            " FROM unnest('{pending,processing,processed,failed,ignored,dead}'::text[]) AS s,"
            " unnest('{29,31}'::int[]) AS d"
        )
        assert run("SELECT cleanup_webhook_events()") == [(2,)]
        assert run("SELECT count(*) FROM stripe_webhook_events") == [(10,)]
        assert run("SELECT cleanup_webhook_events(28)") == [(2,)]


class TestAuditRetention:
    def test_old_rows_go_wherever_they_lie(self, run: Run) -> None:
        run(
            "INSERT INTO audit_log (action, table_name, occurred_at)"
            " SELECT 'drill', 'users', now() - d * interval '1 day' FROM unnest('{800,500,364,1}'::int[]) AS d"
        )
        assert run("SELECT cleanup_audit_log()") == [(2,)]
        run("SELECT create_audit_log_partitions()")
        assert run("SELECT cleanup_audit_log(300)") == [(1,)]
        assert run("SELECT count(*) FROM audit_log WHERE action = 'drill'") == [(1,)]


class TestOrphans:
    def test_orphans_get_the_free_plan_once(self, run: Run) -> None:
        run(
            "INSERT INTO users (email, stripe_customer_id, status) VALUES"
            " ('a@x.example', 'cus_1', 'active'), ('b@x.example', 'cus_2', 'suspended'),"
            " ('c@x.example', NULL, 'active'), ('d@x.example', 'cus_4', 'active')"
        )
        run("UPDATE subscriptions SET status = 'canceled'")
        run("UPDATE users SET status = 'deleted' WHERE email = 'd@x.example'")
        assert run("SELECT email, stripe_customer_id, action FROM fix_orphaned_stripe_customers()") == [
            ("a@x.example", "cus_1", "created_free_subscription"),
            ("b@x.example", "cus_2", "created_free_subscription"),
        ]
        assert run("SELECT * FROM fix_orphaned_stripe_customers()") == []

    def test_duplicate_alone_is_no_subscription(self, run: Run) -> None:
        run("INSERT INTO users (email, stripe_customer_id) VALUES ('a@x.example', 'cus_1')")
        run("UPDATE subscriptions SET is_duplicate = true")
        assert len(run("SELECT * FROM fix_orphaned_stripe_customers()")) == 1


class TestStaleSubscriptions:
    def test_active_and_trialing_ones_past_their_end_are_found(self, run: Run) -> None:
        run("INSERT INTO users (email) SELECT n || '@x.example' FROM generate_series(1, 4) AS n")
        for number, status, days in ((1, "active", 3.5), (2, "trialing", 0.1), (3, "past_due", 9), (4, "active", -1)):
            run(
                "UPDATE subscriptions SET tier = 'starter', status = %s, current_period_start = NULL,"
                " current_period_end = now() - %s * interval '1 day'"
                " FROM users WHERE users.id = user_id AND email = %s",
                status, days, f"{number}@x.example",
            )  # fmt: skip
        found = run("SELECT * FROM find_stale_subscriptions()")
        assert [(row[2], row[3], row[4], float(row[6])) for row in found] == [
            ("1@x.example", "starter", "active", 3.5),
            ("2@x.example", "starter", "trialing", 0.1),
        ]
        assert found == run("SELECT * FROM v_stale_subscriptions ORDER BY current_period_end")
