"""Months are made and dropped one by one: whatever is wrong with one stops no other, and is said."""

from collections.abc import Iterator

import pytest
from django.db import DatabaseError, connection, transaction
from psycopg.errors import Diagnostic

from tests.support import factories
from tests.support.needs import require
from tests.support.sql import Run, ago

pytestmark = pytest.mark.django_db

MONTH = "SELECT to_char(now() AT TIME ZONE 'UTC' + %s * interval '1 month', 'YYYY\"_\"MM')"


@pytest.fixture
def said(db: None) -> Iterator[list[str]]:
    """What the server says, each beginning with its severity."""
    messages: list[str] = []

    def note(message: Diagnostic) -> None:
        messages.append(f"{message.severity}: {message.message_primary}")

    connection.connection.add_notice_handler(note)
    yield messages
    connection.connection.remove_notice_handler(note)


def request(user: str, *, days_ago: int) -> None:
    factories.requests(user, created_at=ago(f"{days_ago} days"))


def stray(user: str, *months: int) -> None:
    """A request in each of the months counted from this one."""
    for month in months:
        factories.requests(user, created_at=ago(f"{-month} months"))


def name(run: Run, months: int) -> str:
    """The partition of api_usage so many months ahead."""
    return f"api_usage_{run(MONTH, months)[0][0]}"


def exists(run: Run, *months: int) -> list[bool]:
    parts = {row[0] for row in run("SELECT partition::text FROM monthly_partitions('api_usage')")}
    return [name(run, month) in parts for month in months]


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

    def test_audit_partitions_are_made_and_refuse_truncate(self, run: Run) -> None:
        run("SELECT create_audit_log_partitions(3)")  # the template's month may have ended
        assert run("SELECT create_audit_log_partitions(4)") == [(1,)]
        (name,) = run("SELECT partition::text FROM monthly_partitions('audit_log') ORDER BY opens DESC LIMIT 1")[0]
        with pytest.raises(DatabaseError, match="audit_log: rows are append-only"), transaction.atomic():
            run(f"TRUNCATE {name}")

    def test_new_partition_gives_nobody_rights(self, run: Run) -> None:
        """It is reached through its parent, whatever the owner's default privileges are."""
        run("CREATE ROLE reader")
        run("ALTER DEFAULT PRIVILEGES GRANT ALL ON TABLES TO reader")
        run("ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO PUBLIC")
        run("SELECT create_api_usage_partitions(4), create_audit_log_partitions(4)")
        suffix = run(MONTH, 4)[0][0]
        granted = (
            "SELECT c.relname, a.grantee FROM pg_class AS c, aclexplode(c.relacl) AS a"
            f" WHERE c.relname IN ('api_usage_{suffix}', 'audit_log_{suffix}') AND a.grantee <> c.relowner"
        )
        assert run(granted) == []
        assert exists(run, 4) == [True]

    def test_wrong_argument_waits_for_nobody(self, run: Run) -> None:
        """It is refused before the lock that keeps others out."""
        with pytest.raises(DatabaseError, match="months must be between"), transaction.atomic():
            run("SELECT create_api_usage_partitions(-1)")
        assert run("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()") == [(0,)]

    @pytest.mark.parametrize("call", ["(NULL, 3, 0)", "('users', 3, 0)", "('pg_class', 3, 0)"])
    def test_other_tables_are_refused(self, run: Run, call: str) -> None:
        with pytest.raises(DatabaseError, match="is not partitioned by month"), transaction.atomic():
            run(f"SELECT create_monthly_partitions{call}")

    @pytest.mark.parametrize(
        ("call", "complaint"),
        [
            (
                "create_monthly_partition(NULL, '2030-01-01')",
                "make_monthly_partitions: NULL is not partitioned by month",
            ),
            (
                "create_monthly_partition('users', '2030-01-01')",
                "make_monthly_partitions: users is not partitioned by month",
            ),
            ("create_monthly_partition('api_usage', NULL)", "create_monthly_partition: month is NULL"),
            ("create_monthly_partition('api_usage', 'infinity')", "months must be of the years 1 to 9999"),
            ("create_monthly_partition('api_usage', '5874897-12-31')", "months must be of the years 1 to 9999"),
            ("create_monthly_partitions('api_usage', 3, 7)", "strays must be between 0 and 6, not 7"),
            ("drop_partitions_before('api_usage', NULL)", "drop_partitions_before: needs a table"),
            ("drop_partitions_before('users', now())", "drop_partitions_before: needs a table"),
        ],
    )
    def test_wrong_argument_of_a_helper_is_a_sentence(self, run: Run, call: str, complaint: str) -> None:
        with pytest.raises(DatabaseError, match=complaint), transaction.atomic():
            run(f"SELECT {call}")

    def test_table_of_another_owner_is_refused(self, run: Run) -> None:
        """Its triggers would run with the rights of the owner of the function."""
        run("CREATE ROLE stranger")
        run("CREATE TABLE theirs (at timestamptz) PARTITION BY RANGE (at)")
        run("ALTER TABLE theirs OWNER TO stranger")
        with pytest.raises(DatabaseError, match="not a table of"), transaction.atomic():
            run("SELECT create_monthly_partitions('theirs', 0, 0)")


class TestMonthInTheWay:
    def test_month_ahead_that_cannot_be_made_stops_no_other(self, run: Run, user: str, said: list[str]) -> None:
        run("SELECT create_api_usage_partitions()")
        run(f"DROP TABLE {name(run, 1)}, {name(run, 2)}, {name(run, 3)}")
        run(f"CREATE TABLE {name(run, 1)} ()")
        stray(user, 9)
        assert run("SELECT create_api_usage_partitions()") == [(2,)]
        assert exists(run, 1, 2, 3, 9) == [False, True, True, True]
        (warning,) = said
        assert warning.startswith("WARNING: api_usage: left out the partition of ")
        assert f"table {name(run, 1)} exists but is no partition of api_usage: rename it, or drop it" in warning

    def test_it_is_an_error_where_nothing_can_be_made(self, run: Run) -> None:
        run(f"CREATE TABLE {name(run, 4)} ()")
        with (
            pytest.raises(DatabaseError, match=f"table {name(run, 4)} exists but is no partition"),
            transaction.atomic(),
        ):
            run("SELECT create_api_usage_partitions(4)")

    def test_stray_month_that_cannot_be_made_stops_no_other(self, run: Run, user: str, said: list[str]) -> None:
        run("SELECT create_api_usage_partitions()")
        run(f"DROP TABLE {name(run, 3)}")
        run(f"CREATE TABLE {name(run, 7)} ()")
        run(f"CREATE DOMAIN {name(run, 8)} AS int")
        stray(user, 7, 8, 10, 11)
        assert run("SELECT create_api_usage_partitions()") == [(1,)]
        assert exists(run, 3, 7, 8, 10, 11) == [True, False, False, True, True]
        assert run("SELECT count(*) FROM api_usage_default") == [(2,)]
        assert (
            run("SELECT count(*) FROM api_usage")
            == run("SELECT sum(total_requests) FROM monthly_usage_summary")
            == [(4,)]
        )
        told = " ".join(said)
        assert f"table {name(run, 7)} exists but is no partition of api_usage: rename it, or drop it" in told
        assert f'type "{name(run, 8)}" already exists' in told
        assert "WARNING" not in told

    def test_partition_that_holds_a_part_of_the_month_is_named(self, run: Run, user: str, said: list[str]) -> None:
        run("SELECT create_api_usage_partitions()")
        run("CREATE TABLE middle (LIKE api_usage INCLUDING ALL)")
        month = run("SELECT date_trunc('month', now() AT TIME ZONE 'UTC') + interval '9 months'")[0][0]
        bounds = f"FROM ('{month:%Y-%m}-10Z') TO ('{month:%Y-%m}-20Z')"
        run(f"ALTER TABLE api_usage ATTACH PARTITION middle FOR VALUES {bounds}")
        factories.requests(user, created_at=f"{month:%Y-%m}-25T00:00:00Z")
        assert run("SELECT create_api_usage_partitions()") == [(0,)]
        (notice,) = said
        assert f"partition middle holds a part of it, from {month:%Y-%m}-10 00:00:00+00 to " in notice
        assert run("SELECT count(*) FROM api_usage_default") == [(1,)]


class TestManyStrayMonths:
    def test_a_few_are_made_at_a_time_the_nearest_first(self, run: Run, user: str) -> None:
        run("SELECT create_api_usage_partitions()")
        stray(user, -400, *range(60, 70), -3)
        assert run("SELECT month, ahead FROM create_monthly_partitions('api_usage', 0, 6)")
        assert exists(run, -3, 60, 64, 65, 69, -400) == [True, True, True, False, False, False]
        for _ in range(2):
            run("SELECT create_api_usage_partitions()")
        assert run("SELECT count(*) FROM api_usage_default") == [(0,)]

    def test_fewer_are_made_where_there_are_many_partitions(self, run: Run, user: str) -> None:
        run("SELECT make_monthly_partitions('api_usage', ARRAY(SELECT (now() + n * interval '1 month')::date"
            " FROM generate_series(20, 126) AS n))")  # fmt: skip
        stray(user, *range(6, 16))
        assert len(run("SELECT * FROM create_monthly_partitions('api_usage', 0, 6)")) == 2

    def test_they_leave_room_in_the_lock_table(self, run: Run, user: str, said: list[str]) -> None:
        run("SELECT create_api_usage_partitions()")
        run(f"DROP TABLE {name(run, 3)}")
        (count,) = run("SELECT count(*)::int FROM monthly_partitions('api_usage')")[0]
        run("CREATE OR REPLACE FUNCTION max_partitions(parent regclass) RETURNS int LANGUAGE sql AS"
            f" 'SELECT {count + 2}'")  # fmt: skip
        stray(user, 7, 8, 9)
        assert run("SELECT create_api_usage_partitions()") == [(1,)]
        assert exists(run, 3, 7, 8, 9) == [True, True, False, False]
        (notice,) = said
        assert "the rows of 2 other months stay in the default partition" in notice

    def test_a_query_of_all_partitions_takes_a_quarter_of_the_lock_table_at_most(self, run: Run) -> None:
        for table in ("api_usage", "audit_log"):
            (most,) = run("SELECT max_partitions(%s::regclass)", table)[0]
            (locks,) = run("SELECT 1 + count(*) FROM pg_index WHERE indrelid = %s::regclass", table)[0]
            (table_of_locks,) = run(
                "SELECT current_setting('max_locks_per_transaction')::int * current_setting('max_connections')::int"
            )[0]
            assert 16 < most <= 240
            assert most * locks <= table_of_locks / 4


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

    def test_half_done_detach_is_finished_and_dropped(self, run: Run, user: str) -> None:
        require(run("SELECT current_setting('is_superuser')") == [("on",)], "a superuser, to fake a half-done detach")
        request(user, days_ago=200)
        run("SELECT create_api_usage_partitions()")
        run(
            "UPDATE pg_inherits SET inhdetachpending = true WHERE inhrelid ="
            " (SELECT partition FROM monthly_partitions('api_usage') ORDER BY opens LIMIT 1)"
        )
        assert run("SELECT cleanup_old_api_usage(30)") == [(1,)]
        assert run("SELECT count(*) FROM pg_inherits WHERE inhdetachpending") == [(0,)]
        assert run(
            "SELECT count(*) FROM pg_class WHERE relname ~ '^api_usage_[0-9]' AND relkind = 'r' AND NOT relispartition"
        ) == [(0,)]

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

    def test_half_done_detach_of_a_recent_month_is_finished_and_its_rows_are_kept(self, run: Run) -> None:
        require(run("SELECT current_setting('is_superuser')") == [("on",)], "a superuser, to fake a half-done detach")
        run("SELECT create_api_usage_partitions()")
        run("UPDATE pg_inherits SET inhdetachpending = true WHERE inhrelid = %s::regclass", name(run, 2))
        with pytest.raises(DatabaseError, match="is half detached: ALTER TABLE api_usage DETACH"), transaction.atomic():
            run("SELECT create_api_usage_partitions()")
        assert run("SELECT cleanup_old_api_usage(30)") == [(0,)]
        assert run("SELECT relispartition FROM pg_class WHERE relname = %s", name(run, 2)) == [(False,)]

    def test_partition_that_cannot_be_dropped_stops_no_other(self, run: Run, user: str, said: list[str]) -> None:
        for days in (200, 300):
            request(user, days_ago=days)
        run("SELECT create_api_usage_partitions()")
        (oldest,) = run("SELECT partition::text FROM monthly_partitions('api_usage') LIMIT 1")[0]
        run(f"CREATE VIEW of_spring AS SELECT * FROM {oldest}")
        assert run("SELECT cleanup_old_api_usage()") == [(1,)]
        (warning,) = said
        assert warning == (
            f"WARNING: api_usage: left out {oldest}: cannot drop table {oldest} because other objects depend on it:"
            f" view of_spring depends on table {oldest}"
        )
        with pytest.raises(DatabaseError, match="view of_spring depends on"), transaction.atomic():
            run("SELECT cleanup_old_api_usage()")

    def test_rows_of_the_default_partition_go_too(self, run: Run, user: str) -> None:
        """By whole months, as if they had a partition."""
        for days in (40, 200):
            request(user, days_ago=days)
        assert run("SELECT cleanup_old_api_usage(100)") == [(0,)]
        assert run("SELECT count(*) FROM api_usage_default") == [(1,)]
        assert run("SELECT sum(total_requests) FROM monthly_usage_summary") == [(2,)]

    def test_at_most_two_years_are_dropped_at_a_time(self, run: Run) -> None:
        run("SELECT make_monthly_partitions('api_usage', ARRAY(SELECT (now() - n * interval '1 month')::date"
            " FROM generate_series(10, 35) AS n))")  # fmt: skip
        assert [run("SELECT cleanup_old_api_usage()") for _ in range(3)] == [[(24,)], [(2,)], [(0,)]]
