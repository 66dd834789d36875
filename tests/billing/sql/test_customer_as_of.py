"""customer_as_of(): a customer as they were, from the rows as they are and the audit log backwards."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import Error, transaction

from billing.stripe import customer_lock
from billing.stripe.projection import transfer
from demo.stripe.world import StripeWorld
from glyphforge.database import roles
from tests.support import factories
from tests.support.as_of import CLOCK, Chance, as_of, each_statement_has_its_moment, now, state
from tests.support.sql import SQL, ago, run, scalar

pytestmark = pytest.mark.django_db


@pytest.fixture
def _moments(db: None) -> None:
    each_statement_has_its_moment()


def clock() -> datetime:
    moment: datetime = scalar("SELECT clock_timestamp()")
    return moment


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.usefixtures("_moments")
def test_every_moment_is_as_it_was(seed: int, world: StripeWorld) -> None:
    chance = Chance(seed, world)
    seen: list[tuple[datetime, dict[Any, Any]]] = []
    for _ in range(45):
        chance.change()
        seen.append((clock(), {user: now(user) for user in chance.users}))
    assert len({json.dumps([*states.values()]) for _, states in seen}) > 15
    for at, states in seen:
        assert {user: state(as_of(user, at)) for user in states} == states


@pytest.mark.usefixtures("_moments")
def test_deleted_customer_is_still_known_as_they_were() -> None:
    user = factories.customer(name="Ada").pk
    factories.api_key(user)
    factories.subscription(user)
    before = clock()
    as_they_were = now(user)
    run("DELETE FROM users WHERE id = %s", user)
    assert state(as_of(user, before)) == as_they_were
    gone = as_of(user, clock())
    assert gone.pop("known_from")
    assert set(gone.values()) == {None}


@pytest.mark.usefixtures("_moments")
def test_before_the_first_row_in_the_log_nothing_is_said() -> None:
    before = clock()
    user = factories.customer().pk
    said = as_of(user, before)
    assert datetime.fromisoformat(said.pop("known_from")) > before
    assert set(said.values()) == {None}
    assert as_of(user, clock())["user"]["id"] == str(user)


@pytest.mark.usefixtures("_moments")
def test_not_known_before_what_retention_removed() -> None:
    user = factories.customer(name="Ada").pk
    before = clock()
    run("UPDATE users SET name = 'Grace' WHERE id = %s", user)
    after = clock()
    run(
        "SELECT record_audit('retention', 'audit_log', '1', NULL, jsonb_build_object('before', %s::timestamptz))",
        after - timedelta(microseconds=1),
    )
    said = as_of(user, before)
    assert datetime.fromisoformat(said.pop("known_from")) == after - timedelta(microseconds=1)
    assert set(said.values()) == {None}
    assert as_of(user, after)["user"]["name"] == "Grace"


def test_of_a_transaction_all_counts_from_its_beginning() -> None:
    user = factories.customer(name="Ada").pk
    factories.subscription(user, tier="professional")
    run("UPDATE users SET name = 'Grace' WHERE id = %s", user)
    begun = scalar("SELECT now()")
    said = as_of(user, begun)
    assert (said["user"]["name"], said["subscription"]["tier"]) == ("Grace", "professional")
    assert as_of(user, begun - timedelta(microseconds=1))["user"] is None


@pytest.mark.usefixtures("_moments")
def test_later_change_of_an_older_transaction_is_undone_first() -> None:
    """One transaction began, waited for another one's change of the same row, and wrote after it."""
    user = factories.customer(name="Ada").pk
    run("ALTER TABLE audit_log ALTER occurred_at SET DEFAULT now() + interval '2 s'")
    run("UPDATE users SET name = 'Grace' WHERE id = %s", user)
    run("ALTER TABLE audit_log ALTER occurred_at SET DEFAULT now() + interval '1 s'")
    run("UPDATE users SET name = 'Barbara' WHERE id = %s", user)
    row = "SELECT row_as_of('users', u.id::text, to_jsonb(u), now() + %s) ->> 'name' FROM users AS u WHERE u.id = %s"
    names = [scalar(row, timedelta(seconds=seconds), user) for seconds in (1.5, 2)]
    assert names == ["Ada", "Barbara"]


@pytest.mark.usefixtures("_moments")
def test_row_was_last_changed_by_the_change_before() -> None:
    user = factories.customer(name="Ada").pk
    added = datetime.fromisoformat(as_of(user, clock())["known_from"])
    first = clock()
    run("UPDATE users SET name = 'Grace' WHERE id = %s", user)
    second = clock()
    run("UPDATE users SET name = 'Barbara' WHERE id = %s", user)
    assert datetime.fromisoformat(as_of(user, first)["user"]["updated_at"]) == added
    assert first < datetime.fromisoformat(as_of(user, second)["user"]["updated_at"]) < second


@pytest.mark.usefixtures("_moments")
def test_of_several_live_subscriptions_the_best_status_then_the_highest_tier_counts() -> None:
    user = factories.customer().pk
    run("DROP INDEX subscriptions_one_live_per_user")
    run("DELETE FROM subscriptions")
    answers = []
    for tier, status in (("enterprise", "unpaid"), ("free", "past_due"), ("starter", "past_due"), ("free", "active")):
        run("INSERT INTO subscriptions (user_id, tier, status) VALUES (%s, %s, %s)", user, tier, status)
        answers.append((clock(), (tier, status)))
    run("DELETE FROM subscriptions")
    for at, counts in answers:
        said = as_of(user, at)["subscription"]
        assert (said["tier"], said["status"]) == counts
    assert as_of(user, clock())["subscription"] is None


@pytest.mark.usefixtures("_moments")
def test_customer_at_stripe_that_went_to_another_user_takes_its_past_nowhere() -> None:
    before, after = factories.customer(stripe_customer_id="cus_a"), factories.customer()
    factories.subscription(before, stripe_customer_id="cus_a")
    factories.payment(before, stripe_customer_id="cus_a", amount_cents=700)
    at = clock()
    with transaction.atomic():
        customer_lock.acquire("cus_a")
        transfer.move("cus_a", after)
    then, later = as_of(before.pk, at), as_of(before.pk, clock())
    assert (then["paid_cents"], then["subscription"]["tier"]) == (700, "starter")
    assert (later["paid_cents"], later["subscription"]["tier"]) == (0, "free")
    assert (as_of(after.pk, at)["paid_cents"], as_of(after.pk, clock())["paid_cents"]) == (0, 700)


@pytest.mark.usefixtures("_moments")
def test_money_counts_from_when_it_was_recorded() -> None:
    user = factories.customer().pk
    at = clock()
    factories.payment(user, amount_cents=500, paid_at=ago("3 days"))
    assert (as_of(user, at)["paid_cents"], as_of(user, clock())["paid_cents"]) == (0, 500)


@pytest.mark.usefixtures("_moments")
def test_several_currencies_are_not_added_up() -> None:
    user = factories.customer().pk
    for currency, cents in (("usd", 100), ("jpy", 20), ("usd", 3)):
        factories.payment(user, amount_cents=cents, currency=currency)
    said = as_of(user, clock())
    assert (said["paid"], said["paid_cents"]) == ({"usd": 103, "jpy": 20}, None)


@pytest.mark.usefixtures("_moments")
def test_requests_are_those_of_the_month_up_to_the_moment(this_month: str) -> None:
    user = factories.customer().pk
    factories.requests(user, 3, created_at=CLOCK)
    at = clock()
    factories.requests(user, 2, created_at=CLOCK)
    end = clock()
    assert (as_of(user, at)["requests_this_month"], as_of(user, end)["requests_this_month"]) == (3, 5)
    run("SELECT roll_up_usage()")
    assert as_of(user, at)["requests_this_month"] == 3
    run("DELETE FROM api_usage WHERE user_id = %s AND created_at < %s", user, at)
    assert as_of(user, at)["requests_this_month"] is None
    run(f"DROP TABLE api_usage_{this_month}")
    assert (as_of(user, at)["requests_this_month"], as_of(user, end)["requests_this_month"]) == (None, 5)


@pytest.mark.usefixtures("_moments")
def test_counters_that_moved_since_are_not_said() -> None:
    user = factories.customer().pk
    key = factories.api_key(user).pk
    before = clock()
    assert as_of(user, before)["api_keys"][0]["usage_count"] == 0
    factories.requests(user, 2, api_key_id=key, created_at=CLOCK)
    run("SELECT roll_up_usage(), sync_subscription_usage()")
    run("SELECT set_config('app.counting', 'on', true)")
    run("UPDATE subscriptions SET usage_synced_at = clock_timestamp() WHERE user_id = %s", user)
    said, later = as_of(user, before), as_of(user, clock())
    assert (said["api_keys"][0]["usage_count"], said["subscription"]["usage_count"]) == (None, None)
    assert (later["api_keys"][0]["usage_count"], later["subscription"]["usage_count"]) == (2, 2)


@pytest.mark.usefixtures("_moments")
def test_no_hash_is_said() -> None:
    user = factories.customer()
    key = factories.issued_key(user)
    at = clock()
    run("DELETE FROM api_keys WHERE user_id = %s", user.pk)
    said = json.dumps(as_of(user.pk, at))
    assert key.key.key_prefix in said
    assert "hash" not in said
    assert "$2b$" not in said
    assert "masked" not in said


@pytest.mark.parametrize(
    ("user", "at", "problem"),
    [
        (None, SQL("now()"), "user_id is NULL"),
        ("00000000-0000-4000-8000-000000000001", None, "at is NULL"),
        ("00000000-0000-4000-8000-000000000001", SQL("now() + interval '1 h'"), "which is in the future"),
        (
            "00000000-0000-4000-8000-000000000001",
            SQL("'infinity'::timestamptz"),
            "at is infinity, which is in the future",
        ),
        ("00000000-0000-4000-8000-000000000001", SQL("now()"), "there is and was no user 00000000-"),
    ],
)
def test_what_makes_no_sense_is_refused(user: str | None, at: SQL | None, problem: str) -> None:
    with pytest.raises(Error, match=f"customer_as_of: .*{problem}"):
        run(f"SELECT customer_as_of(%s, {at.sql if at else 'NULL'})", user)


def test_times_are_utc_in_any_session() -> None:
    user = factories.customer(created_at=datetime(2026, 1, 1, 12, tzinfo=UTC)).pk
    at = clock()
    run("SET LOCAL timezone = 'Asia/Kathmandu'")
    run("SET LOCAL datestyle = 'German'")
    assert as_of(user, at)["user"]["created_at"] == "2026-01-01T12:00:00+00:00"


def test_support_may_ask_and_the_monitor_may_not() -> None:
    roles.install()
    user = factories.customer().pk
    factories.api_key(user)
    run("SET LOCAL ROLE glyphforge_support")
    assert len(as_of(user, clock())["api_keys"]) == 1
    run("SET LOCAL ROLE glyphforge_monitor")
    with pytest.raises(Error, match="permission denied"), transaction.atomic():
        as_of(user, clock())


def test_the_log_is_read_by_row_and_by_what_was_had(this_month: str) -> None:
    run(
        "INSERT INTO audit_log (action, table_name, row_id, old_values, new_values)"
        " SELECT 'update', 'subscriptions', n::text, '{}', '{}' FROM generate_series(1, 3000) AS n"
    )
    run("ANALYZE audit_log")
    month = f"audit_log_{this_month}"
    for condition, index in (
        ("action IN ('update', 'delete') AND old_values ->> 'user_id' = '1'", f"{month}_expr_table_name_idx"),
        ("action = 'delete' AND old_values ->> 'payment_id' = '1'", f"{month}_expr_table_name_idx1"),
        ("row_id = '1' AND occurred_at > '2026-01-01'", f"{month}_table_name_row_id_occurred_at_idx"),
    ):
        asked = f"EXPLAIN SELECT min(id + 0) FROM audit_log WHERE table_name = 'subscriptions' AND {condition}"
        plan = "\n".join(line for (line,) in run(asked))
        assert index in plan.split(), plan
        assert f"Seq Scan on {month}" not in plan, plan
