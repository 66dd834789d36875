"""Issuing, rotating, expiring and revoking keys."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import bcrypt
import pytest
from django.core import mail
from django.utils import timezone
from django_q.models import OrmQ, Schedule
from django_q.signing import SignedPackage

from billing import tasks
from billing.keys import authentication, lifecycle
from billing.models import ApiKey
from glyphforge.audit.models import AuditEntry
from glyphforge.errors import Refused
from tests.support.factories import customer, issued_key

pytestmark = pytest.mark.django_db
ACTING: dict[str, Any] = {"actor": "ada", "reason": "asked by phone"}


def _entries(key: ApiKey) -> list[AuditEntry]:
    return list(AuditEntry.objects.filter(table_name="api_keys", row_id=str(key.pk)).order_by("id"))


def test_issued_key_is_stored_as_bcrypt_hash_and_prefix_only() -> None:
    issued = issued_key()
    row = ApiKey.objects.get()
    assert issued.raw_key.startswith(row.key_prefix)
    assert row.key_hash.startswith("$2b$")
    assert issued.raw_key[len(row.key_prefix) :] not in str(ApiKey.objects.values().get())
    assert issued.raw_key not in repr(issued)


def test_the_hash_covers_the_whole_key_beyond_72_bytes() -> None:
    long_key = "x" * 80
    key_hash = authentication.hash_key(long_key).encode()
    assert not bcrypt.checkpw(long_key[:72].encode(), key_hash)
    assert authentication._matches(long_key, key_hash.decode())
    assert not authentication._matches(long_key + "y", key_hash.decode())


def test_issuing_is_audited_once_without_the_hash() -> None:
    issued = issued_key(name="ci", actor="ada", reason="new pipeline")
    (entry,) = _entries(issued.key)
    assert (entry.action, entry.actor, entry.reason) == ("insert", "ada", "new pipeline")
    assert entry.new_values["key_prefix"] == issued.key.key_prefix
    assert "$2b$" not in str(entry.new_values)


@pytest.mark.parametrize("status", ["suspended", "deleted"])
def test_inactive_customer_gets_no_key(status: str) -> None:
    with pytest.raises(Refused, match="gets no keys"):
        issued_key(customer(status=status))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"environment": "narnia"}, "no environment"),
        ({"expires_at": timezone.now() - timedelta(days=1)}, "in the future"),
        ({"reason": "  "}, "reason is needed"),
    ],
)
def test_issue_refuses(change: dict[str, Any], message: str) -> None:
    with pytest.raises(Refused, match=message):
        issued_key(**change)


def test_rotation_lets_both_keys_work_for_the_overlap() -> None:
    old = issued_key(name="ci")
    new = lifecycle.rotate(old.key, overlap=timedelta(hours=2), **ACTING)
    assert (new.key.name, new.key.environment, new.key.user_id) == ("ci", "production", old.key.user_id)
    assert authentication.authenticate(old.raw_key).outcome == "ok"
    assert authentication.authenticate(new.raw_key).outcome == "ok"
    old.key.refresh_from_db()
    assert timedelta(minutes=119) < old.key.expires_at - timezone.now() <= timedelta(hours=2)


def test_rotation_keeps_the_lifetime_and_never_prolongs_the_old_key() -> None:
    old = issued_key(expires_at=timezone.now() + timedelta(hours=1))
    new = lifecycle.rotate(old.key, **ACTING)
    old.key.refresh_from_db()
    assert old.key.expires_at < timezone.now() + timedelta(hours=1)
    assert timedelta(minutes=59) < new.key.expires_at - timezone.now() <= timedelta(minutes=61)


def test_rotation_without_overlap_ends_the_old_key_at_once() -> None:
    old = issued_key()
    assert authentication.authenticate(old.raw_key).outcome == "ok"
    lifecycle.rotate(old.key, overlap=timedelta(0), **ACTING)
    assert authentication.authenticate(old.raw_key).outcome == "expired"


def test_a_replaced_key_is_not_rotated_again_and_its_successor_lives_as_long_as_it_was_made_to() -> None:
    old = issued_key()
    new = lifecycle.rotate(old.key, **ACTING)
    with pytest.raises(Refused, match="rotate its successor"):
        lifecycle.rotate(old.key, **ACTING)
    assert new.key.expires_at is None
    assert lifecycle.rotate(new.key, **ACTING).key.expires_at is None
    assert old.key.user.api_keys.count() == 3


@pytest.mark.parametrize("operation", [lifecycle.rotate, lifecycle.revoke])
def test_a_revoked_key_can_only_stay_revoked(operation: Callable[..., Any]) -> None:
    issued = issued_key()
    lifecycle.revoke(issued.key, **ACTING)
    with pytest.raises(Refused, match="already revoked"):
        operation(issued.key, **ACTING)


@pytest.mark.parametrize("overlap", [timedelta(seconds=-1), timedelta(days=31)])
def test_rotation_refuses_an_overlap_out_of_bounds(overlap: timedelta) -> None:
    with pytest.raises(Refused, match="between 0 and 30 days"):
        lifecycle.rotate(issued_key().key, overlap=overlap, **ACTING)


def test_revocation_is_audited_once_with_actor_and_reason() -> None:
    issued = issued_key()
    row = lifecycle.revoke(issued.key, actor="ada", reason=f"pasted {issued.raw_key} into a chat")
    entry = _entries(issued.key)[-1]
    assert (entry.action, entry.actor) == ("update", "ada")
    assert set(entry.new_values) == {"revoked_at", "revoked_reason"}
    assert row.revoked_reason == entry.reason == f"pasted {row.key_prefix}…[masked] into a chat"
    assert len(_entries(issued.key)) == 2


@pytest.mark.parametrize("whole", [True, False])
def test_a_leaked_key_is_revoked_with_reason_and_the_customer_is_told(whole: bool, settings: Any) -> None:
    settings.ALERT_EMAIL = "alerts@example.com"
    issued = issued_key()
    (row,) = lifecycle.report_leaked(
        issued.raw_key if whole else f" {issued.key.key_prefix}… ", actor="ada", reason="found on a public site"
    )
    assert row.revoked_reason == "Reported as leaked: found on a public site"
    assert authentication.authenticate(issued.raw_key).outcome == "revoked"

    task = SignedPackage.loads(OrmQ.objects.get().payload)
    assert task["func"] == "billing.tasks.send_leak_notice"
    tasks.send_leak_notice(*task["args"])
    (message,) = mail.outbox
    assert message.recipients() == [row.user.email, "alerts@example.com"]
    assert row.key_prefix in message.subject
    assert issued.raw_key not in message.subject + message.body


def test_the_notice_is_tried_again_when_the_mail_server_refuses(monkeypatch: pytest.MonkeyPatch) -> None:
    issued = issued_key()
    lifecycle.report_leaked(issued.raw_key, **ACTING)
    monkeypatch.setattr("billing.keys.leak_notice.send", _refuse)
    tasks.send_leak_notice(str(issued.key.pk))
    again = Schedule.objects.get(func="billing.tasks.send_leak_notice")
    assert again.args == str((str(issued.key.pk), 2))
    with pytest.raises(ConnectionRefusedError):
        tasks.send_leak_notice(str(issued.key.pk), tasks.ATTEMPTS)


def _refuse(key: ApiKey) -> None:
    raise ConnectionRefusedError


def test_a_report_that_names_no_key_in_use_is_refused_without_repeating_it() -> None:
    issued = issued_key()
    other = issued.raw_key[:-7] + ("A" if issued.raw_key[-7] != "A" else "B") + issued.raw_key[-6:]
    for text in ("glyph", other, "sk_live_1234567890"):
        with pytest.raises(Refused) as refusal:
            lifecycle.report_leaked(text, **ACTING)
        assert text not in str(refusal.value) or text == "glyph"
    lifecycle.report_leaked(issued.raw_key, **ACTING)
    with pytest.raises(Refused, match="already revoked"):
        lifecycle.report_leaked(issued.raw_key, **ACTING)
