"""Customers under random changes of every kind, and how they are now, read the plain way."""

import json
import random
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from django.core.exceptions import ObjectDoesNotExist
from django.db import Error, transaction

from billing.keys import lifecycle
from billing.models import ApiKey, Subscription, User
from billing.services import accounts
from demo.stripe.world import StripeWorld
from glyphforge.errors import Refused
from glyphforge.rows import Json
from tests.support import factories
from tests.support.event_stream import EventStream
from tests.support.sql import SQL, run, scalar

# What is no state: counters, and moments that in one transaction all are now().
LEFT_OUT = {"updated_at", "usage_count", "usage_synced_at", "last_used_at"}
CLOCK = SQL("clock_timestamp()")


def each_statement_has_its_moment() -> None:
    """Have the rows of this transaction dated by the clock: each statement is told from the next, as commits are."""
    run("ALTER TABLE audit_log ALTER occurred_at SET DEFAULT clock_timestamp()")
    run("ALTER TABLE payment_movements ALTER created_at SET DEFAULT clock_timestamp()")


def as_of(user_id: object, at: object) -> Json:
    """What `customer_as_of()` says."""
    said: Json = json.loads(scalar("SELECT customer_as_of(%s, %s)::text", user_id, at))
    return said


def state(said: Json) -> Json:
    """What of it has to be equal to `now`."""
    kept = {name: said[name] for name in ("requests_this_month", "paid_cents")}
    for name in ("user", "subscription"):
        kept[name] = said[name] and {key: value for key, value in said[name].items() if key not in LEFT_OUT}
    keys = said["api_keys"] or []
    return kept | {"api_keys": [{k: v for k, v in key.items() if k not in LEFT_OUT} for key in keys]}


def now(user_id: object) -> Json:
    """The customer by the tables alone, as `state` has it."""
    statement = """
        SELECT jsonb_build_object(
            'user', (SELECT to_jsonb(u) - 'suspended_at' FROM users AS u WHERE u.id = o.id),
            'subscription', (
                SELECT to_jsonb(s) FROM subscriptions AS s INNER JOIN live_subscriptions AS l ON l.id = s.id
                WHERE s.user_id = o.id AND NOT s.is_duplicate
            ),
            'api_keys', coalesce((
                SELECT jsonb_agg(to_jsonb(k) - '{key_hash,key_fast_hash}'::text[] ORDER BY k.created_at, k.id)
                FROM api_keys AS k WHERE k.user_id = o.id
            ), '[]'),
            'requests_this_month', coalesce((
                SELECT m.total_requests FROM monthly_usage_summary AS m
                WHERE m.user_id = o.id AND m.month = date_trunc('month', now() AT TIME ZONE 'UTC')::date
            ), 0),
            'paid_cents', coalesce((
                SELECT sum(m.amount_cents) FROM payment_movements AS m
                INNER JOIN payment_history AS p ON p.id = m.payment_id WHERE p.user_id = o.id
            ), 0)
        )::text
        FROM (SELECT %s::uuid AS id) AS o
    """
    found: Json = json.loads(scalar(statement, user_id))
    if found["user"] is None:
        return dict.fromkeys(found) | {"api_keys": []}
    return state(found)


class Chance:
    """Changes customers at random, as application, events and people at psql do; `users` are those that ever were."""

    def __init__(self, seed: int, world: StripeWorld) -> None:
        self.random = random.Random(seed)
        self.stream = EventStream(world).signed_up()
        self.users: list[Any] = [self.stream.user.pk, *(factories.customer().pk for _ in range(2))]
        self.acts: list[Callable[[], object]] = [
            self._rename, self._status, self._suspend, self._leave, self._join, self._plan, self._end, self._again,
            self._move, self._forget, self._issue, self._revoke, self._hand_over, self._expire, self._delete_key,
            self._pay, self._refund, self._move_payment, self._delete_payment, self._request, self._fold,
            self._event, self._two_at_once,
        ]  # fmt: skip

    def change(self) -> None:
        """One change of some kind; what the database or a service refuses changes nothing."""
        with suppress(Error, Refused, ObjectDoesNotExist), transaction.atomic():
            self.random.choice(self.acts)()

    def _user(self) -> Any:
        return self.random.choice(self.users)

    def _one_of(self, table: str, condition: str = "true") -> Any:
        found = run(f"SELECT id FROM {table} WHERE {condition} ORDER BY created_at, id")
        return self.random.choice(found)[0] if found else None

    def _rename(self) -> None:
        number = self.random.randrange(1000)
        run("UPDATE users SET name = %s, email = %s WHERE id = %s", f"N{number}", f"{number}@x.org", self._user())

    def _status(self) -> None:
        status = self.random.choice(["active", "suspended", "deleted"])
        run("UPDATE users SET status = %s WHERE id = %s", status, self._user())

    def _suspend(self) -> None:
        user = User.objects.get(pk=self._user())
        act = self.random.choice([accounts.suspend, accounts.reactivate])
        act(user, actor="ada", reason="asked")

    def _leave(self) -> None:
        run("DELETE FROM users WHERE id = %s", self._user())

    def _join(self) -> None:
        self.users.append(factories.customer(created_at=CLOCK).pk)

    def _plan(self) -> None:
        tier, cents = self.random.choice([("starter", 2900), ("professional", 9900), ("enterprise", 50000)])
        status = self.random.choice(["active", "trialing", "past_due", "unpaid", "paused"])
        run(
            "UPDATE subscriptions SET tier = %s, price_cents = %s, status = %s, quantity = quantity + 1, trial_end ="
            " CASE WHEN trial_end IS NULL THEN clock_timestamp() END WHERE id = %s",
            tier, cents, status, self._one_of("subscriptions"),
        )  # fmt: skip

    def _end(self) -> None:
        run("UPDATE subscriptions SET status = 'canceled' WHERE id = %s", self._one_of("subscriptions"))

    def _again(self) -> None:
        factories.subscription(self._user(), is_duplicate=self.random.random() < 0.3)

    def _move(self) -> None:
        run("UPDATE subscriptions SET user_id = %s WHERE id = %s", self._user(), self._one_of("subscriptions"))

    def _forget(self) -> None:
        run("DELETE FROM subscriptions WHERE id = %s", self._one_of("subscriptions"))

    def _issue(self) -> None:
        if self.random.random() < 0.2:
            factories.issued_key(User.objects.get(pk=self._user()))
        else:
            factories.api_key(self._user(), name="CI", created_at=CLOCK)

    def _revoke(self) -> None:
        lifecycle.revoke(ApiKey.objects.get(pk=self._one_of("api_keys")), actor="ada", reason="leaked")

    def _hand_over(self) -> None:
        run("UPDATE api_keys SET user_id = %s WHERE id = %s", self._user(), self._one_of("api_keys"))

    def _expire(self) -> None:
        run("UPDATE api_keys SET expires_at = clock_timestamp() WHERE id = %s", self._one_of("api_keys"))

    def _delete_key(self) -> None:
        run("DELETE FROM api_keys WHERE id = %s", self._one_of("api_keys"))

    def _pay(self) -> None:
        factories.payment(
            self._user(), amount_cents=self.random.randrange(100, 9000), paid_at=SQL("now() - '1d'::interval")
        )

    def _refund(self) -> None:
        payment = self._one_of("payment_history", "refunded_cents < amount_cents - 10")
        run("UPDATE payment_history SET refunded_cents = refunded_cents + 10 WHERE id = %s", payment)

    def _move_payment(self) -> None:
        run("UPDATE payment_history SET user_id = %s WHERE id = %s", self._user(), self._one_of("payment_history"))

    def _delete_payment(self) -> None:
        run("DELETE FROM payment_history WHERE id = %s", self._one_of("payment_history"))

    def _request(self) -> None:
        factories.requests(self._user(), self.random.randrange(1, 5), created_at=CLOCK)

    def _fold(self) -> None:
        run("SELECT roll_up_usage(), sync_subscription_usage()")

    def _event(self) -> None:
        self.stream.update(status=self.random.choice(["active", "past_due", "unpaid"]))

    def _two_at_once(self) -> None:
        """Several rows of several customers in one statement."""
        run("UPDATE subscriptions SET quantity = quantity + 1")
        live = Subscription.objects.filter(status__in=Subscription.LIVE)
        live.update(cancel_at_period_end=self.random.random() < 0.5)
