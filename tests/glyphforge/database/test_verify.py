"""Drift is found and named, object by object."""

from datetime import UTC, datetime, timedelta

import pytest
from django.db import connection

from glyphforge.database import verify
from tests.support import desired_state
from tests.support.drift import SABOTAGE, SUPERUSERS_SABOTAGE, month_ahead

pytestmark = pytest.mark.django_db


@pytest.fixture
def ahead() -> str:
    return month_ahead()


def test_desired_state_equals_the_migrations() -> None:
    assert [str(difference) for difference in verify.differences()] == []


def test_every_kind_of_drift_is_named(ahead: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT current_setting('is_superuser') = 'on'")
        sabotage = SABOTAGE | (SUPERUSERS_SABOTAGE if cursor.fetchone()[0] else {})
        for statement in sabotage:
            cursor.execute(statement.replace("{ahead}", ahead))
    found = {f"{d.problem} {d.kind} {d.name}" for d in verify.differences()}
    assert {expected.replace("{ahead}", ahead) for expected in sabotage.values()} - found == set()


def test_difference_says_what_differs() -> None:
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE users DISABLE TRIGGER audit")
        cursor.execute("ALTER FUNCTION sync_subscription_usage() RESET search_path")
    assert {str(difference) for difference in verify.differences()} == {
        "different trigger users.audit: enabled is D, not O",
        "different function sync_subscription_usage(): settings is none, not ['search_path=public, pg_temp']",
    }


def test_nothing_is_left_behind() -> None:
    desired_state.forget()
    verify.differences()
    with connection.cursor() as cursor:
        cursor.execute("SELECT to_regnamespace(%s) IS NULL, current_schema()", [verify.SCRATCH])
        assert cursor.fetchone() == (True, "public")


class TestMonthsAhead:
    """A month is made by the partitions job of the first at 01:00, and by the daily job at 02:00."""

    @pytest.fixture
    def first(self) -> datetime:
        """The beginning of next month, for which nobody has made partitions yet."""
        now = datetime.now(UTC)
        return datetime(now.year + now.month // 12, now.month % 12 + 1, 1, tzinfo=UTC)

    def outermost(self, first: datetime) -> set[str]:
        month = first.year * 12 + first.month - 1 + verify.MONTHS_AHEAD
        return {
            f"missing partition {parent}_{month // 12}_{month % 12 + 1:02}" for parent in ("api_usage", "audit_log")
        }

    @pytest.mark.parametrize("minutes", [0, 30, 59, 121, 179])
    def test_the_outermost_is_not_missed_before_the_jobs_of_the_first(self, first: datetime, minutes: int) -> None:
        assert verify.differences(now=first + timedelta(minutes=minutes)) == []

    def test_it_is_missed_once_they_should_have_run(self, first: datetime) -> None:
        found = {str(difference) for difference in verify.differences(now=first + timedelta(minutes=180))}
        assert found == self.outermost(first)

    @pytest.mark.parametrize("minutes", [-1, 30])
    def test_another_month_is_missed_at_any_time(self, first: datetime, minutes: int, ahead: str) -> None:
        with connection.cursor() as cursor:
            cursor.execute(f"DROP TABLE api_usage_{ahead}")
        found = [str(difference) for difference in verify.differences(now=first + timedelta(minutes=minutes))]
        assert found == [f"missing partition api_usage_{ahead}"]

    def test_the_session_s_time_zone_decides_nothing(self, first: datetime) -> None:
        with connection.cursor() as cursor:
            cursor.execute("SET LOCAL timezone = 'Pacific/Auckland'")
        assert verify.differences(now=first + timedelta(minutes=30)) == []
