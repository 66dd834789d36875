"""What a rehearsal notes of an act, and that nothing of it stays."""

from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
from django.db import IntegrityError, connection, transaction

from glyphforge.audit import acting_as
from glyphforge.database import rehearsal
from glyphforge.database.rehearsal import Change, rehearse
from glyphforge.observability import error_reports
from tests.support import database, factories
from tests.support.all_rows import digest
from tests.support.sql import run, scalar

pytestmark = pytest.mark.django_db


def seen(changes: list[Change], table: str) -> list[tuple[str, dict[str, tuple[Any, Any]]]]:
    return [(c.action, {name: (old, new) for name, old, new in c.columns()}) for c in changes if c.table == table]


def test_rows_made_changed_and_removed_are_noted_with_those_of_triggers_and_undone() -> None:
    kept, gone = factories.customer(name="Ada"), factories.customer(name="Grace")
    before = digest()

    def act() -> str:
        run("INSERT INTO users (name) VALUES ('Eve')")
        run("UPDATE users SET name = 'Barbara' WHERE id = %s", kept.pk)
        run("UPDATE users SET name = 'Ada L.' WHERE id = %s", kept.pk)
        run("DELETE FROM users WHERE id = %s", gone.pk)
        return "done"

    found = rehearse(act)
    assert found.said == "done"
    users = dict(seen(found.changes, "users"))
    assert users["insert"]["name"] == (None, "Eve")
    assert users["update"]["name"] == ("Ada", "Ada L.")
    assert users["delete"]["name"] == ("Grace", None)
    assert sorted(action for action, _ in seen(found.changes, "subscriptions")) == ["delete", "insert"]
    assert len(seen(found.changes, "audit_log")) == 6
    assert digest() == before


def test_what_comes_to_nothing_is_not_noted() -> None:
    user = factories.customer(name="Ada")

    def act() -> None:
        run("SELECT * FROM users FOR UPDATE")
        with transaction.atomic():
            run("INSERT INTO plan_prices (stripe_price_id, tier) VALUES ('price_1', 'free')")
            run("DELETE FROM plan_prices WHERE stripe_price_id = 'price_1'")
        with suppress(IntegrityError), transaction.atomic():
            run("UPDATE users SET name = 'Eve' WHERE id = %s", user.pk)
            run("INSERT INTO users (id) VALUES (%s)", user.pk)
        run("UPDATE plans SET name = name")

    assert [change for change in rehearse(act).changes if change.table != "audit_log"] == []


def test_rows_of_this_transaction_from_before_are_not_the_acts() -> None:
    run("UPDATE plans SET name = 'Before'")
    found = rehearse(lambda: run("UPDATE plans SET name = 'After' WHERE tier = 'free'"))
    assert seen(found.changes, "plans")[0][1]["name"] == ("Before", "After")
    assert len(seen(found.changes, "plans")) == 1


def test_partitioned_tables_are_read_as_one() -> None:
    found = rehearse(lambda: run("SELECT record_audit('look', 'users', '1')"))
    assert [(change.table, change.action) for change in found.changes] == [("audit_log", "insert")]
    assert "audit_log_2" not in str(found.changes[0].key)


def test_secrets_are_not_shown() -> None:
    found = rehearse(factories.issued_key)
    shown = str([(change.columns(), change) for change in found.changes if change.table == "api_keys"])
    assert found.said.key.key_hash not in shown
    user = factories.customer()
    said = rehearse(lambda: user.notes.create(author="ada", body="It was sk_live_" + 20 * "x"))
    assert "sk_live_x" not in str([change.columns() for change in said.changes])


def test_act_that_fails_fails_and_leaves_nothing() -> None:
    before = digest()
    with pytest.raises(ZeroDivisionError):
        rehearse(lambda: (run("UPDATE plans SET name = 'x'") and None) or 1 / 0)
    assert digest() == before
    assert not rehearsal.is_rehearsing()


def test_rule_that_is_checked_at_the_end_is_checked() -> None:
    late = "FOREIGN KEY (note) REFERENCES plans (tier) DEFERRABLE INITIALLY DEFERRED"
    run(f"ALTER TABLE plan_prices ADD CONSTRAINT late {late}")
    with pytest.raises(IntegrityError, match="late"):
        rehearse(lambda: run("INSERT INTO plan_prices (stripe_price_id, tier, note) VALUES ('price_1', 'free', 'x')"))


def test_nothing_is_called_that_waits_for_the_commit(django_capture_on_commit_callbacks: Callable[..., Any]) -> None:
    with django_capture_on_commit_callbacks() as waiting:
        rehearse(lambda: transaction.on_commit(lambda: None))
    assert waiting == []


def test_error_of_a_rehearsed_act_is_not_reported() -> None:
    assert rehearse(lambda: error_reports.scrubbed({"message": "failed"}, {})).said is None
    assert error_reports.scrubbed({"message": "failed"}, {}) == {"message": "failed"}


def test_no_rehearsal_in_another() -> None:
    with pytest.raises(RuntimeError, match="a rehearsal is under way"):
        rehearse(lambda: rehearse(lambda: None))


def test_transaction_that_a_failed_statement_spoiled_is_undone_too() -> None:
    with pytest.raises(IntegrityError):
        rehearse(lambda: run("INSERT INTO plan_prices (stripe_price_id, tier) VALUES ('price_1', 'gold')"))
    assert scalar("SELECT count(*) FROM plan_prices") == 0


def test_who_acts_is_noted_as_in_earnest() -> None:
    with acting_as(actor="ada", reason="Ticket 1"):
        found = rehearse(lambda: run("UPDATE plans SET name = 'x' WHERE tier = 'free'"))
    ((_, entry),) = seen(found.changes, "audit_log")
    assert (entry["actor"][1], entry["reason"][1]) == ("ada", "Ticket 1")


@pytest.mark.django_db(transaction=True)
def test_rows_that_others_commit_meanwhile_are_not_the_acts_and_its_own_never_come() -> None:
    factories.customer(name="Ada")

    def act() -> None:
        run("UPDATE users SET name = 'Eve'")
        with database.session(autocommit=True) as other:
            other.execute("INSERT INTO users (name) VALUES ('Grace')")

    found = rehearse(act)
    assert [columns["name"] for _, columns in seen(found.changes, "users")] == [("Ada", "Eve")]
    assert {name for (name,) in run("SELECT name FROM users")} == {"Ada", "Grace"}
    assert not connection.in_atomic_block
