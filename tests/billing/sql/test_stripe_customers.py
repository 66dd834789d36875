"""users.stripe_customer_id and stripe_customers say the same, whichever of them is written."""

from typing import Any

import pytest
from django.db import Error, transaction

from billing.models import StripeCustomer, User
from tests.support import factories
from tests.support.sql import run, scalar

pytestmark = pytest.mark.django_db


def links(user: User) -> dict[str, bool]:
    """The user's customers and whether each is the primary one; exactly one is, and the user's row names it."""
    rows = dict(StripeCustomer.objects.filter(user=user).values_list("pk", "is_primary"))
    user.refresh_from_db()
    assert [pk for pk, is_primary in rows.items() if is_primary] == ([user.stripe_customer_id] if rows else [])
    return rows


def link(user: User, customer_id: str, **values: Any) -> None:
    StripeCustomer.objects.create(stripe_customer_id=customer_id, user=user, **values)


def test_customer_set_by_sql_gets_a_row() -> None:
    user = factories.customer(stripe_customer_id="cus_a")
    assert links(user) == {"cus_a": True}
    other = factories.customer()
    run("UPDATE users SET stripe_customer_id = 'cus_b' WHERE id = %s", other.pk)
    assert links(other) == {"cus_b": True}
    assert scalar("SELECT linked_by FROM stripe_customers WHERE stripe_customer_id = 'cus_b'") == scalar(
        "SELECT session_user"
    )


def test_another_primary_customer_set_by_sql_leaves_the_first_with_the_user() -> None:
    user = factories.customer(stripe_customer_id="cus_a")
    run("UPDATE users SET stripe_customer_id = 'cus_b' WHERE id = %s", user.pk)
    assert links(user) == {"cus_a": False, "cus_b": True}
    run("UPDATE users SET stripe_customer_id = 'cus_a' WHERE id = %s", user.pk)
    assert links(user) == {"cus_a": True, "cus_b": False}


def test_first_customer_is_the_primary_one_and_others_are_not() -> None:
    user = factories.customer()
    link(user, "cus_a")
    assert links(user) == {"cus_a": True}
    link(user, "cus_b")
    assert links(user) == {"cus_a": True, "cus_b": False}
    link(user, "cus_c", is_primary=True)
    assert links(user) == {"cus_a": False, "cus_b": False, "cus_c": True}


def test_made_primary_by_sql_takes_the_place_of_the_other() -> None:
    user = factories.customer(stripe_customer_id="cus_a")
    link(user, "cus_b")
    run("UPDATE stripe_customers SET is_primary = true WHERE stripe_customer_id = 'cus_b'")
    assert links(user) == {"cus_a": False, "cus_b": True}


def test_primary_customer_that_leaves_is_followed_by_the_oldest_that_lives() -> None:
    user = factories.customer(stripe_customer_id="cus_a")
    link(user, "cus_gone", created_at="2020-01-01T00:00Z", deleted_at="2020-02-01T00:00Z")
    link(user, "cus_new", created_at="2022-01-01T00:00Z")
    link(user, "cus_old", created_at="2021-01-01T00:00Z")
    run("DELETE FROM stripe_customers WHERE stripe_customer_id = 'cus_a'")
    assert links(user) == {"cus_gone": False, "cus_new": False, "cus_old": True}
    run("DELETE FROM stripe_customers WHERE user_id = %s", user.pk)
    assert (links(user), user.stripe_customer_id) == ({}, None)


def test_customer_moved_by_sql_leaves_both_users_with_a_primary_one() -> None:
    user, other = factories.customer(stripe_customer_id="cus_a"), factories.customer(stripe_customer_id="cus_x")
    newcomer = factories.customer()
    link(user, "cus_b")
    move = "UPDATE stripe_customers SET user_id = %s WHERE stripe_customer_id = %s"
    run(move, other.pk, "cus_a")
    assert (links(user), links(other)) == ({"cus_b": True}, {"cus_x": True, "cus_a": False})
    run(move, newcomer.pk, "cus_b")
    assert (links(user), links(newcomer)) == ({}, {"cus_b": True})


def test_only_customer_taken_off_the_user_by_sql_is_unlinked() -> None:
    user = factories.customer(stripe_customer_id="cus_a")
    run("UPDATE users SET stripe_customer_id = NULL WHERE id = %s", user.pk)
    assert links(user) == {}


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE users SET stripe_customer_id = NULL WHERE stripe_customer_id = 'cus_a'",
        "UPDATE users SET stripe_customer_id = 'cus_b' WHERE stripe_customer_id = 'cus_x'",
        "UPDATE stripe_customers SET is_primary = false WHERE stripe_customer_id = 'cus_a'",
        "UPDATE stripe_customers SET stripe_customer_id = 'cus_c' WHERE stripe_customer_id = 'cus_b'",
        "INSERT INTO users (email, stripe_customer_id) VALUES ('new@example.com', 'cus_b')",
    ],
)
def test_what_would_leave_two_truths_is_refused_and_changes_nothing(statement: str) -> None:
    user, other = factories.customer(stripe_customer_id="cus_a"), factories.customer(stripe_customer_id="cus_x")
    link(user, "cus_b")
    with pytest.raises(Error, match=r"cus_|other Stripe customers"), transaction.atomic():
        run(statement)
    assert (links(user), links(other)) == ({"cus_a": True, "cus_b": False}, {"cus_x": True})


def test_deleted_user_takes_its_customers_along() -> None:
    user = factories.customer(stripe_customer_id="cus_a")
    link(user, "cus_b")
    run("DELETE FROM users WHERE id = %s", user.pk)
    assert not StripeCustomer.objects.exists()


def test_row_whose_writer_names_no_customer_is_of_the_primary_one() -> None:
    user = factories.customer(stripe_customer_id="cus_a")
    link(user, "cus_b")
    assert factories.subscription(user).stripe_customer_id == "cus_a"
    assert factories.subscription(user, stripe_customer_id="cus_b").stripe_customer_id == "cus_b"
    assert factories.payment(user).stripe_customer_id == "cus_a"


def test_events_are_released_by_what_they_wait_for_also_by_sql() -> None:
    rows = {key: factories.webhook_event(waits_for=[key, "ada@example.com"]) for key in ("cus_a", "cus_b", "price_a")}
    run("UPDATE stripe_webhook_events SET next_retry_at = now() + interval '1 day'")
    run("INSERT INTO users (email, stripe_customer_id) VALUES ('a@example.com', 'cus_a')")
    run("INSERT INTO plan_prices (stripe_price_id, tier) VALUES ('price_a', 'starter')")
    due = run("SELECT stripe_event_id FROM stripe_webhook_events WHERE next_retry_at <= now()")
    assert {event_id for (event_id,) in due} == {rows[key].stripe_event_id for key in ("cus_a", "price_a")}
    assert scalar("SELECT retry_waiting_events('ada@example.com')") == 3


def test_waiting_event_never_dies_of_its_tries() -> None:
    event = factories.webhook_event(attempts=7, status="pending")
    for _ in range(20):
        assert scalar("SELECT start_webhook_processing(%s)", event.stripe_event_id)
        run("UPDATE stripe_webhook_events SET waits_for = '{cus_a}'")
        assert scalar("SELECT complete_webhook_processing(%s, 'nobody has it')", event.stripe_event_id)
        event.refresh_from_db()
        assert (event.status, event.attempts, event.waits_for) == ("failed", 1, ["cus_a"])
        run("UPDATE stripe_webhook_events SET next_retry_at = now()")
    assert scalar("SELECT start_webhook_processing(%s)", event.stripe_event_id)
    assert scalar("SELECT complete_webhook_processing(%s, NULL)", event.stripe_event_id)
    event.refresh_from_db()
    assert (event.status, event.waits_for) == ("processed", None)


def test_suspension_outlasts_a_deletion_and_ends_with_a_reactivation() -> None:
    user = factories.customer()
    said = "UPDATE users SET status = %s WHERE id = %s RETURNING suspended_at IS NOT NULL"
    states = ["suspended", "deleted", "active", "suspended", "active"]
    assert [scalar(said, status, user.pk) for status in states] == [True, True, True, True, False]
