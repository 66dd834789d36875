"""What the database does by itself, whoever writes."""

import pytest
from django.db import DatabaseError, IntegrityError, connection, transaction

from billing.models import ApiKey
from tests.support.factories import requests
from tests.support.sql import SQL, Run, ago


def audit(run: Run, table: str) -> list[tuple]:
    return run(
        "SELECT action, old_values, new_values, actor, reason, request_id FROM audit_log"
        " WHERE table_name = %s ORDER BY id",
        table,
    )


class TestUsers:
    @pytest.mark.smoke
    def test_new_customer_gets_the_free_plan(self, run: Run, user: str) -> None:
        rows = run(
            "SELECT tier, status, monthly_request_limit, current_period_end FROM subscriptions WHERE user_id = %s", user
        )
        assert rows == [("free", "active", 100, None)]

    def test_every_customer_of_one_statement_gets_the_free_plan(self, run: Run) -> None:
        run("INSERT INTO users (email) SELECT 'u' || n || '@example.com' FROM generate_series(1, 50) AS n")
        assert run("SELECT count(*) FROM subscriptions WHERE tier = 'free'") == [(50,)]

    def test_address_is_unique_whatever_its_case(self, run: Run, user: str) -> None:
        with pytest.raises(IntegrityError, match="users_email_key"):
            run("INSERT INTO users (email) VALUES ('ADA@Example.com')")

    def test_customer_with_payments_cannot_be_deleted(self, run: Run, user: str) -> None:
        run("INSERT INTO payment_history (user_id, amount_cents) VALUES (%s, 2900)", user)
        with pytest.raises(IntegrityError, match="payment_history_user_id_fkey"):
            run("DELETE FROM users WHERE id = %s", user)

    @pytest.mark.parametrize("email", ["", "ada", "ada@", "a da@example.com", "@example.com"])
    def test_implausible_address_is_refused(self, run: Run, email: str) -> None:
        with pytest.raises(IntegrityError, match="users_email_plausible"):
            run("INSERT INTO users (email) VALUES (%s)", email)


class TestSubscriptions:
    def test_second_live_subscription_is_refused(self, run: Run, user: str) -> None:
        with pytest.raises(IntegrityError, match="subscriptions_one_live_per_user"):
            run("INSERT INTO subscriptions (user_id, tier, status) VALUES (%s, 'starter', 'past_due')", user)

    def test_marked_duplicate_and_ended_ones_are_accepted(self, run: Run, user: str) -> None:
        run(
            "INSERT INTO subscriptions (user_id, tier, status, is_duplicate) VALUES (%s, 'starter', 'active', true)",
            user,
        )
        run("INSERT INTO subscriptions (user_id, tier, status) VALUES (%s, 'starter', 'canceled')", user)
        assert run("SELECT count(*) FROM subscriptions WHERE user_id = %s", user) == [(3,)]

    def test_limit_is_that_of_the_plan_unless_named(self, run: Run, user: str) -> None:
        assert run("UPDATE subscriptions SET tier = 'starter' RETURNING monthly_request_limit") == [(10_000,)]
        assert run(
            "UPDATE subscriptions SET tier = 'professional', monthly_request_limit = 7 RETURNING monthly_request_limit"
        ) == [(7,)]
        assert run("UPDATE subscriptions SET tier = 'enterprise' RETURNING monthly_request_limit") == [(None,)]

    def test_cancellation_is_dated(self, run: Run, user: str) -> None:
        assert run("UPDATE subscriptions SET status = 'canceled' RETURNING canceled_at IS NOT NULL") == [(True,)]

    @pytest.mark.parametrize(
        "change",
        [
            "status = 'paying'", "tier = 'gold'", "price_cents = -1", "currency = 'USD'", "\"interval\" = 'decade'",
            "current_period_start = now(), current_period_end = now() - interval '1 day'", "quantity = -1",
            "monthly_request_limit = -1", "stripe_subscription_id = ''",
        ],
    )  # fmt: skip
    def test_impossible_value_is_refused(self, run: Run, user: str, change: str) -> None:
        with pytest.raises(IntegrityError):
            run(f"UPDATE subscriptions SET {change}")


class TestApiKeys:
    def test_revoked_key_cannot_be_revived(self, run: Run, key: str) -> None:
        run("UPDATE api_keys SET revoked_at = now(), revoked_reason = 'leaked'")
        with pytest.raises(IntegrityError, match="api_keys: a revoked key stays revoked"):
            run("UPDATE api_keys SET revoked_at = NULL, revoked_reason = NULL")

    def test_stale_save_does_not_take_counters_back(self, run: Run, user: str, key: str) -> None:
        stale = ApiKey.objects.get()
        requests(user, api_key_id=key)
        run("SELECT roll_up_usage()")
        stale.name = "renamed"
        stale.save()
        assert run("SELECT name, usage_count, last_used_at IS NOT NULL FROM api_keys") == [("renamed", 1, True)]

    def test_the_key_itself_is_refused_as_its_hash(self, run: Run, user: str) -> None:
        with pytest.raises(IntegrityError, match="api_keys_hash_is_no_key"):
            run(
                "INSERT INTO api_keys (user_id, key_prefix, key_hash) VALUES (%s, 'glyph_sk_dev_', 'glyph_sk_dev_abc')",
                user,
            )


class TestUpdatedAt:
    @pytest.mark.parametrize(
        "table",
        ["users", "subscriptions", "api_keys", "plans", "plan_prices", "payment_history", "stripe_webhook_events"],
    )
    def test_every_table_that_has_it_maintains_it(self, run: Run, table: str) -> None:
        rows = run("SELECT tgname FROM pg_trigger WHERE tgrelid = %s::regclass AND tgname = 'set_updated_at'", table)
        assert rows

    def test_change_moves_it_and_no_change_does_not(self, run: Run, user: str) -> None:
        moved = run("UPDATE users SET name = 'Countess' RETURNING updated_at > created_at, updated_at")
        assert moved[0][0] is True
        assert run("UPDATE users SET name = name RETURNING updated_at") == [(moved[0][1],)]


class TestAudit:
    def test_insert_update_delete_record_only_what_changed(self, run: Run, user: str) -> None:
        run("UPDATE users SET name = 'Countess' WHERE id = %s", user)
        run("DELETE FROM users WHERE id = %s", user)
        created, changed, deleted = audit(run, "users")
        assert created[:2] == ("insert", None)
        assert '"email": "ada@example.com"' in created[2]
        assert changed[:3] == ("update", '{"name": "Ada"}', '{"name": "Countess"}')
        assert deleted[0] == "delete"
        assert deleted[2] is None

    def test_actor_is_the_role_unless_the_session_says_who(self, run: Run, user: str) -> None:
        run(
            "SELECT set_config('app.actor', 'sam', true), set_config('app.reason', 'asked', true),"
            " set_config('app.request_id', 'r1', true)"
        )
        run("UPDATE users SET name = 'Countess'")
        created, changed = audit(run, "users")
        assert created[3:] == (run("SELECT session_user::text")[0][0], None, None)
        assert changed[3:] == ("sam", "asked", "r1")

    def test_hashes_are_masked(self, run: Run, key: str) -> None:
        run("UPDATE api_keys SET key_hash = '$2b$12$other'")
        created, changed = audit(run, "api_keys")
        assert '"key_hash": "[masked]"' in created[2]
        assert changed[1:3] == ('{"key_hash": "[masked]"}', '{"key_hash": "[masked]"}')

    def test_counting_is_no_change(self, run: Run, user: str, key: str) -> None:
        requests(user)
        run("SELECT roll_up_usage(), sync_subscription_usage()")
        assert [row[0] for row in audit(run, "subscriptions")] == ["insert"]

    @pytest.mark.parametrize("table", ["api_keys", "subscriptions"])
    def test_every_column_but_counters_and_what_is_derived_is_watched(self, run: Run, table: str) -> None:
        unwatched = run(
            "SELECT a.attname FROM pg_attribute AS a"
            " JOIN pg_trigger AS t ON t.tgrelid = a.attrelid AND t.tgname = 'audit'"
            " WHERE a.attrelid = %s::regclass AND a.attnum > 0 AND NOT a.attisdropped AND a.attnum <> ALL (t.tgattr)",
            table,
        )
        others = {"api_keys": {"last_used_at", "key_fast_hash"}, "subscriptions": {"usage_synced_at"}}
        assert {name for (name,) in unwatched} == {"usage_count", "updated_at", *others[table]}

    @pytest.mark.parametrize(
        "statement",
        [
            "UPDATE audit_log SET actor = 'nobody'",
            "DELETE FROM audit_log",
            "TRUNCATE audit_log",
            "DELETE FROM {partition}",
            "TRUNCATE {partition}",
            "TRUNCATE audit_log_default",
        ],
    )
    def test_rows_are_append_only(self, run: Run, user: str, this_month: str, statement: str) -> None:
        partition = f"audit_log_{this_month}"
        with pytest.raises(DatabaseError, match="audit_log: rows are append-only"), transaction.atomic():
            run(statement.format(partition=partition))


class TestUsageCounting:
    @pytest.mark.smoke
    def test_bare_insert_is_counted_at_once(self, run: Run, user: str) -> None:
        requests(user, response_time_ms=12)
        assert run(
            "SELECT total_requests, successful_requests, failed_requests, total_response_time_ms, max_response_time_ms,"
            " last_request_at = now(), month = date_trunc('month', now() AT TIME ZONE 'UTC')::date"
            " FROM monthly_usage_summary"
        ) == [(1, 1, 0, 12, 12, True, True)]

    def test_status_400_is_a_failure(self, run: Run, user: str) -> None:
        requests(user, 3, status_code=SQL("('{399,400,599}'::int[])[n]"))
        assert run("SELECT successful_requests, failed_requests FROM monthly_usage_summary") == [(1, 2)]

    def test_months_of_one_statement_are_told_apart_in_utc(self, run: Run, user: str) -> None:
        run("SET LOCAL timezone = 'Pacific/Auckland'")
        moments = "{2024-01-31 23:59:59.999999+00, 2024-02-01 00:00+00, 2030-05-05 00:00+00}"
        requests(user, 3, created_at=SQL(f"('{moments}'::timestamptz[])[n]"))
        months = [str(month) for (month,) in run("SELECT month FROM monthly_usage_summary ORDER BY 1")]
        assert months == ["2024-01-01", "2024-02-01", "2030-05-01"]

    @pytest.mark.parametrize("rows", [1, 2, 100, 101, 250])  # up to a hundred are queued one by one, more are grouped
    def test_statement_of_any_size_is_counted_by_customer_key_and_month(
        self, run: Run, user: str, key: str, rows: int
    ) -> None:
        requests(
            user,
            rows,
            api_key_id=SQL(f"CASE WHEN n % 3 > 0 THEN '{key}'::uuid END"),
            status_code=SQL("200 + 200 * (n % 2)"),
            response_time_ms=SQL("n"),
            created_at=SQL("timestamptz '2024-02-01 00:00+00' - CASE WHEN n % 5 = 0 THEN '1 s' ELSE '0' END::interval"),
        )
        summary = (
            "SELECT month::text, total_requests, successful_requests, failed_requests, total_response_time_ms,"
            " max_response_time_ms, last_request_at FROM monthly_usage_summary ORDER BY 1"
        )
        recount = run(
            "SELECT date_trunc('month', created_at, 'UTC')::date::text, count(*),"
            " count(*) FILTER (WHERE status_code < 400), count(*) FILTER (WHERE status_code >= 400),"
            " sum(response_time_ms), max(response_time_ms), max(created_at) FROM api_usage GROUP BY 1 ORDER BY 1"
        )
        assert run(summary) == recount
        run("SELECT roll_up_usage()")
        assert run(summary) == recount
        assert run("SELECT usage_count FROM api_keys") == run("SELECT count(api_key_id) FROM api_usage")

    def test_callers_search_path_and_temporary_tables_lead_no_count_astray(self, run: Run, user: str) -> None:
        run("CREATE TEMPORARY TABLE api_usage_deltas (LIKE public.api_usage_deltas)")
        run("SET LOCAL search_path = pg_temp")
        requests(user, table="public.api_usage")
        assert run("SELECT count(*) FROM pg_temp.api_usage_deltas") == [(0,)]
        assert run("SELECT sum(total_requests) FROM public.monthly_usage_summary") == [(1,)]

    def test_copy_and_direct_insert_into_a_partition_count_once(self, run: Run, user: str, this_month: str) -> None:
        with (
            connection.cursor() as cursor,
            cursor.copy("COPY api_usage (user_id, endpoint, method, status_code, response_time_ms) FROM STDIN") as copy,
        ):
            for _ in range(10):
                copy.write_row((user, "/", "GET", 200, 1))
        requests(user, table=f"api_usage_{this_month}")
        assert run("SELECT total_requests FROM monthly_usage_summary") == [(11,)]
        run("SELECT roll_up_usage()")
        assert run("SELECT total_requests FROM monthly_usage_summary") == [(11,)]

    @pytest.mark.parametrize("moment", ["infinity", "-infinity", "55842-07-02", "0044-03-15 BC", "2200-01-01 00:00+00"])
    def test_moment_that_no_partition_is_for_is_refused(self, run: Run, user: str, moment: str) -> None:
        with pytest.raises(IntegrityError, match="api_usage_created_at_plausible"):
            requests(user, created_at=moment)

    def test_rolled_back_rows_are_not_counted(self, run: Run, user: str) -> None:
        requests(user)
        savepoint = transaction.savepoint()
        requests(user)
        transaction.savepoint_rollback(savepoint)
        assert run("SELECT total_requests FROM monthly_usage_summary") == [(1,)]

    def test_counted_row_cannot_change(self, run: Run, user: str) -> None:
        requests(user)
        with pytest.raises(IntegrityError, match="api_usage: a counted request does not change"):
            run("UPDATE api_usage SET status_code = 500")

    def test_roll_up_folds_into_key_and_says_how_many(self, run: Run, user: str, key: str) -> None:
        for _ in range(3):
            requests(user, api_key_id=key)
        requests(user)
        assert run("SELECT roll_up_usage()") == [(4,)]
        assert run("SELECT roll_up_usage()") == [(0,)]
        assert run("SELECT usage_count, last_used_at = now() FROM api_keys") == [(3, True)]

    def test_sync_counts_this_month_only_and_is_idempotent(self, run: Run, user: str) -> None:
        requests(user)
        requests(user, created_at=ago("40 days"))
        assert run("SELECT sync_subscription_usage()") == [(1,)]
        assert run("SELECT sync_subscription_usage()") == [(0,)]
        assert run("SELECT usage_count, usage_synced_at = now() FROM subscriptions") == [(1, True)]
