"""The maintenance functions, called as the operator's handbook shows them."""

import pytest
from django.db import DatabaseError, transaction

from tests.support import factories
from tests.support.needs import require
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


class TestUsageRetention:
    def test_only_partitions_wholly_older_are_dropped_and_totals_stay(self, run: Run, user: str) -> None:
        for days in (5, 70, 200, 400):
            request(user, days_ago=days)
        run("SELECT create_api_usage_partitions()")
        before = run("SELECT * FROM monthly_usage_summary ORDER BY month")
        assert run("SELECT cleanup_old_api_usage(90)") == [(2,)]
        assert run("SELECT cleanup_old_api_usage(90)") == [(0,)]
        assert run("SELECT count(*) FROM api_usage") == [(2,)]
        assert run("SELECT * FROM monthly_usage_summary ORDER BY month") == before

    def test_names_decide_nothing(self, run: Run, user: str) -> None:
        run("CREATE TABLE api_usage_2001_01 (LIKE api_usage)")  # no partition at all
        run("ALTER TABLE api_usage_2001_01 RENAME TO api_usage_2001_02")
        request(user, days_ago=200)
        run("SELECT create_api_usage_partitions()")
        (name,) = run("SELECT partition::text FROM monthly_partitions('api_usage') ORDER BY opens LIMIT 1")[0]
        run(f"ALTER TABLE {name} RENAME TO requests_of_spring")
        assert run("SELECT cleanup_old_api_usage()") == [(1,)]
        assert run("SELECT to_regclass('requests_of_spring') IS NULL, to_regclass('api_usage_2001_02') IS NULL") == [
            (True, False)
        ]

    def test_half_done_detach_is_finished_first(self, run: Run, user: str) -> None:
        require(run("SELECT current_setting('is_superuser')") == [("on",)], "a superuser, to fake a half-done detach")
        request(user, days_ago=200)
        run("SELECT create_api_usage_partitions()")
        run(
            "UPDATE pg_inherits SET inhdetachpending = true WHERE inhrelid ="
            " (SELECT partition FROM monthly_partitions('api_usage') ORDER BY opens LIMIT 1)"
        )
        assert run("SELECT cleanup_old_api_usage(30)") == [(0,)]
        assert run("SELECT count(*) FROM pg_inherits WHERE inhdetachpending") == [(0,)]

    @pytest.mark.parametrize("zone", ["Pacific/Auckland", "America/Los_Angeles", "UTC"])
    def test_bounds_are_utc_in_any_time_zone(self, run: Run, zone: str) -> None:
        run(f"SET LOCAL timezone = '{zone}'")
        run("SET LOCAL datestyle = 'SQL, DMY'")
        run("SELECT create_api_usage_partitions(3)")  # the template's month may have ended
        assert run("SELECT create_api_usage_partitions(5)") == [(2,)]
        assert run(
            "SELECT bool_and(date_trunc('month', opens AT TIME ZONE 'UTC') = opens AT TIME ZONE 'UTC'"
            " AND closes AT TIME ZONE 'UTC' = opens AT TIME ZONE 'UTC' + interval '1 month'), count(*)"
            " FROM monthly_partitions('api_usage') WHERE closes > now()"
        ) == [(True, 6)]


class TestPartitions:
    def test_default_partition_is_drained_without_counting_twice(self, run: Run, user: str) -> None:
        for days in (-150, 100):
            request(user, days_ago=days)
        assert run("SELECT count(*) FROM api_usage_default") == [(2,)]
        run("SELECT create_api_usage_partitions(6)")
        assert run("SELECT count(*) FROM api_usage_default") == [(0,)]
        assert run("SELECT count(*) FROM api_usage") == [(2,)]
        assert run("SELECT sum(total_requests) FROM monthly_usage_summary") == [(2,)]

    def test_new_partition_has_every_index_and_trigger(self, run: Run) -> None:
        run("SELECT create_api_usage_partitions(7)")
        shapes = run(
            "SELECT DISTINCT (SELECT count(*) FROM pg_index WHERE indrelid = partition)"
            " = (SELECT count(*) FROM pg_index WHERE indrelid = 'api_usage'::regclass),"
            " (SELECT array_agg(tgname::text ORDER BY tgname) FROM pg_trigger WHERE tgrelid = partition)"
            " FROM monthly_partitions('api_usage')"
        )
        assert shapes == [(True, ["count_usage", "keep_counted"])]

    def test_table_in_the_way_is_named(self, run: Run) -> None:
        name = run("SELECT to_char(now() AT TIME ZONE 'UTC' + interval '4 months', '\"api_usage_\"YYYY\"_\"MM')")[0][0]
        run(f"CREATE TABLE {name} ()")
        with pytest.raises(DatabaseError, match=f"table {name} exists but is no partition"), transaction.atomic():
            run("SELECT create_api_usage_partitions(4)")

    def test_audit_partitions_are_made_and_refuse_truncate(self, run: Run) -> None:
        run("SELECT create_audit_log_partitions(3)")  # the template's month may have ended
        assert run("SELECT create_audit_log_partitions(4)") == [(1,)]
        (name,) = run("SELECT partition::text FROM monthly_partitions('audit_log') ORDER BY opens DESC LIMIT 1")[0]
        with pytest.raises(DatabaseError, match="audit_log: rows are append-only"), transaction.atomic():
            run(f"TRUNCATE {name}")


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
