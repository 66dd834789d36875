"""What one person asks for another decides, once and in time, whoever writes."""

import pytest
from django.db import DatabaseError, transaction
from django_q.models import OrmQ

from glyphforge.approval import requests
from glyphforge.approval.models import Approval
from glyphforge.audit.models import AuditEntry
from glyphforge.errors import Refused
from tests.support.sql import run

pytestmark = pytest.mark.django_db

State = Approval.State
SUBJECT = "00000000-0000-4000-8000-00000000000a"


@pytest.fixture
def asked() -> Approval:
    return requests.ask("erase_customer", SUBJECT, "Erase a customer", actor="ada", reason="asked by letter")


def test_another_person_approves_and_the_work_is_queued(asked: Approval) -> None:
    decided = requests.approve(asked, actor="grace", reason="identity checked")
    assert (decided.state, decided.decided_by, decided.decision_reason) == (State.APPROVED, "grace", "identity checked")
    task = OrmQ.objects.get().task
    assert (task["func"], task["args"]) == ("billing.tasks.erase_customer", (str(asked.pk),))
    entry = AuditEntry.objects.filter(table_name="approvals", action="update").get()
    assert (entry.actor, entry.reason) == ("grace", "identity checked")


@pytest.mark.parametrize("name", ["ada", "ADA", " ada "])
def test_nobody_decides_their_own(asked: Approval, name: str) -> None:
    for decide in (requests.approve, requests.refuse):
        with pytest.raises(Refused, match="another person has to decide it"):
            decide(asked, actor=name, reason="fine")
    with pytest.raises(DatabaseError, match="approvals_decided_by_another"), transaction.atomic():
        run(
            "UPDATE approvals SET state = 'approved', decided_by = %s, decided_at = now(), decision_reason = 'fine'",
            name,
        )
    assert not OrmQ.objects.exists()


def test_decision_is_made_once(asked: Approval) -> None:
    requests.refuse(asked, actor="grace", reason="not their address")
    for decide in (requests.approve, requests.refuse, requests.withdraw):
        with pytest.raises(Refused, match="refused by grace already"):
            decide(asked, actor="linus", reason="after all")
    for change in ("decided_by = 'linus'", "state = 'asked'", "asked_by = 'linus'", "subject = 'x'", "kind = 'y'"):
        with pytest.raises(DatabaseError, match="approvals"), transaction.atomic():
            run(f"UPDATE approvals SET {change}")


def test_stale_request_is_refused_and_can_be_asked_for_anew(asked: Approval) -> None:
    run("ALTER TABLE approvals DISABLE TRIGGER keep_approval")
    run("UPDATE approvals SET expires_at = now() - interval '1 minute'")
    run("ALTER TABLE approvals ENABLE TRIGGER keep_approval")
    with pytest.raises(Refused, match="stale since"):
        requests.approve(asked, actor="grace", reason="fine")
    with pytest.raises(DatabaseError, match="is stale since"), transaction.atomic():
        run("UPDATE approvals SET state='approved', decided_by='grace', decided_at=now(), decision_reason='fine'")
    assert requests.current("erase_customer", SUBJECT) is None
    again = requests.ask("erase_customer", SUBJECT, "Erase a customer", actor="ada", reason="asked by letter")
    assert again.pk != asked.pk
    assert Approval.objects.get(pk=asked.pk).state == State.WITHDRAWN


def test_asking_twice_is_one_request(asked: Approval) -> None:
    again = requests.ask("erase_customer", SUBJECT, "Erase a customer", actor="grace", reason="so do I")
    assert (again.pk, again.asked_by) == (asked.pk, "ada")


def test_words_are_needed_and_secrets_masked(asked: Approval) -> None:
    with pytest.raises(Refused, match="A reason is needed"):
        requests.approve(asked, actor="grace", reason="  ")
    decided = requests.approve(asked, actor="grace", reason="token=abcdefgh12345678")
    assert "abcdefgh" not in str(decided.decision_reason)


def test_done_is_said_once(asked: Approval) -> None:
    requests.done(asked)
    asked.refresh_from_db()
    assert asked.state == State.ASKED
    requests.approve(asked, actor="grace", reason="fine")
    requests.done(asked)
    requests.done(asked)
    asked.refresh_from_db()
    assert (asked.state, asked.done_at is not None) == (State.DONE, True)
