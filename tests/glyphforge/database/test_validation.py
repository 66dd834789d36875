"""An upgrade meets rows that its new constraints do not allow, and neither stops nor keeps them."""

import pytest
from django.core.management import call_command

from glyphforge.database import validation, verify
from tests.support.sql import run, scalar

LONG = "repeat('字', 3000)"


def broken(table: str, constraint: str, statement: str) -> None:
    """Writes a row that the constraint would refuse, and has it hold for new rows only."""
    definition = scalar("SELECT pg_get_constraintdef(oid) FROM pg_constraint WHERE conname = %s", constraint)
    run(f"ALTER TABLE {table} DROP CONSTRAINT {constraint}")
    run(statement)
    run(f"ALTER TABLE {table} ADD CONSTRAINT {constraint} {definition} NOT VALID")


@pytest.mark.django_db
def test_labels_are_cut_and_times_moved_and_what_fits_stays() -> None:
    statement = f"INSERT INTO users (email, name) VALUES ('a@b', 'Ada'), ('c@d', {LONG})"
    broken("users", "users_name_length", statement)
    broken("api_keys", "api_keys_times_plausible",
        "INSERT INTO api_keys (user_id, key_prefix, key_hash, expires_at)"
        " SELECT id, 'p', 'x', 'infinity' FROM users WHERE email = 'a@b'")  # fmt: skip
    assert validation.validate() == []
    assert run("SELECT length(name) FROM users ORDER BY email") == [(3,), (2048,)]
    kept = run("SELECT extract(year FROM expires_at AT TIME ZONE 'UTC'), revoked_at FROM api_keys")
    assert kept == [(2199, None)]
    assert scalar("SELECT count(*) FROM pg_constraint WHERE NOT convalidated") == 0


@pytest.mark.django_db
def test_amount_that_breaks_a_constraint_is_left_for_a_person() -> None:
    broken("plans", "plans_rate_limit_positive", "UPDATE plans SET rate_limit_per_minute = 0 WHERE tier = 'free'")
    (problem,) = validation.validate()
    assert "plans_rate_limit_positive" in problem
    assert "is violated by some row; mend it" in problem
    assert scalar("SELECT rate_limit_per_minute FROM plans WHERE tier = 'free'") == 0


@pytest.mark.slow
@pytest.mark.django_db(transaction=True)
def test_database_of_the_first_release_with_rows_that_break_every_kind_of_bound_is_upgraded() -> None:
    call_command("migrate", "monitoring", "zero", verbosity=0)
    for app in ("billing", "monitoring"):
        call_command("migrate", app, "0001_baseline", verbosity=0)
    # Once more than an index row holds, compressed.
    run(f"INSERT INTO users (email, name, created_at) VALUES ('a@b', {LONG}, '-infinity')")
    run(
        "INSERT INTO api_usage (user_id, endpoint, method, status_code, response_time_ms)"
        f" SELECT id, {LONG}, {LONG}, 200, 1 FROM users"
    )
    run(
        "INSERT INTO api_usage_deltas SELECT user_id, api_key_id, 'infinity', -5, '2026-05-04', t, 3, -1"
        " FROM api_usage_deltas, unnest(ARRAY[-5, 2]) AS t"
    )
    run("UPDATE subscriptions SET current_period_end = 'infinity'")
    call_command("migrate", verbosity=0)
    assert [str(difference) for difference in verify.differences()] == []
    assert run("SELECT octet_length(endpoint), octet_length(method) FROM api_usage") == [(1500, 45)]
    assert run(
        "SELECT total_requests, failed_requests, month::text FROM monthly_usage_totals WHERE month = '2026-05-01'"
    ) == [(2, 2, "2026-05-01")]
    assert scalar("SELECT roll_up_usage()") == 0  # the upgrade has done it
    run("SELECT take_daily_snapshot(), fold_traffic()")
