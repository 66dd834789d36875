"""What `authenticate` accepts, what it costs, and how soon a change is seen."""

import time
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import bcrypt
import pytest
from django.db import connection
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries

from billing.keys import authentication, lifecycle
from billing.keys import cache as key_cache
from billing.keys import format as key_format
from billing.models import ApiKey, User
from glyphforge.audit.models import AuditEntry
from glyphforge.web import brute_force
from glyphforge.web.models import AuthenticationFailure
from tests.support.factories import customer, issued_key
from tests.support.waiting import PATIENCE_SECONDS

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _nothing_remembered() -> Iterator[None]:
    key_cache.verified_keys.clear()
    yield
    key_cache.verified_keys.clear()


@pytest.fixture
def hashed(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """The hashes that bcrypt was asked to check."""
    authentication._dummy_hash()
    checked: list[bytes] = []
    original = bcrypt.checkpw

    def checkpw(password: bytes, key_hash: bytes) -> bool:
        checked.append(key_hash)
        return bool(original(password, key_hash))

    monkeypatch.setattr(bcrypt, "checkpw", checkpw)
    return checked


@pytest.fixture
def later(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Moves the clock of the memory of checked keys."""
    offset = [0.0]
    clock = time.monotonic
    monkeypatch.setattr(key_cache.time, "monotonic", lambda: clock() + offset[0])

    def move(seconds: float) -> None:
        offset[0] += seconds

    return move


def _wrong_secret(raw_key: str) -> str:
    """A well-formed key with the same prefix."""
    body = raw_key[:-7] + ("A" if raw_key[-7] != "A" else "B")
    return body + key_format._checksum(body)


def test_issued_key_authenticates_as_its_customer() -> None:
    issued = issued_key()
    key = authentication.authenticate(issued.raw_key).key
    assert key == issued.key
    assert key.user.email == issued.key.user.email


@pytest.mark.parametrize("damage", ["truncated", "mistyped", "spaced", "empty", "bytes", "none", "unicode"])
def test_a_damaged_key_is_refused_without_a_query_or_a_hash(
    damage: str, hashed: list[bytes], django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    raw_key = issued_key().raw_key
    damaged: Any = {
        "truncated": raw_key[:-1],
        "mistyped": raw_key[:-10] + ("x" if raw_key[-10] != "x" else "y") + raw_key[-9:],
        "spaced": raw_key + " ",
        "empty": "",
        "bytes": raw_key.encode(),
        "none": None,
        "unicode": "glyph_sk_live_" + "٣" * 32,
    }[damage]
    with django_assert_num_queries(0):
        assert authentication.authenticate(damaged).outcome == "malformed"
    assert hashed == []


def test_stolen_prefix_is_worth_nothing(hashed: list[bytes]) -> None:
    issued = issued_key()
    assert authentication.authenticate(_wrong_secret(issued.raw_key)).outcome == "unknown"
    assert authentication.authenticate(issued.raw_key).outcome == "ok"


def test_wrong_prefix_and_wrong_secret_cost_the_same(
    hashed: list[bytes], django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    wrong_secret, wrong_prefix = _wrong_secret(issued_key().raw_key), key_format.generate("production")
    for raw_key in (wrong_secret, wrong_prefix):
        hashed.clear()
        with django_assert_num_queries(2):  # the prefix, and counting the failure
            assert authentication.authenticate(raw_key).outcome == "unknown"
        assert len(hashed) == 1
        assert hashed[0][:7] == b"$2b$04$"


def test_issued_key_costs_one_query_in_a_process_that_has_not_seen_it_and_none_after(
    hashed: list[bytes], django_assert_num_queries: DjangoAssertNumQueries, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(key_cache, "ROW_SECONDS", PATIENCE_SECONDS)  # the row is not read again meanwhile
    raw_key = issued_key().raw_key
    with django_assert_num_queries(1):
        assert authentication.authenticate(raw_key).outcome == "ok"
    with django_assert_num_queries(0):
        for _ in range(100):
            assert authentication.authenticate(raw_key).outcome == "ok"
    assert hashed == []


def test_a_key_of_before_costs_bcrypt_once_in_all_processes(hashed: list[bytes]) -> None:
    issued = issued_key()
    ApiKey.objects.update(key_fast_hash=None)
    changed = ApiKey.objects.get().updated_at
    for _ in range(2):
        assert authentication.authenticate(issued.raw_key).outcome == "ok"
        key_cache.verified_keys.clear()  # another process
    assert len(hashed) == 1
    assert (
        ApiKey.objects.get().updated_at,
        AuditEntry.objects.filter(table_name="api_keys", action="update").count(),
    ) == (changed, 0)


def test_while_the_pepper_is_rotated_no_key_costs_bcrypt(hashed: list[bytes], settings: Any) -> None:
    old, new = settings.API_KEY_PEPPERS[0], "another-pepper-of-thirty-two-characters"
    raw_key = issued_key().raw_key
    settings.API_KEY_PEPPERS = [new, old]
    assert authentication.authenticate(raw_key).outcome == "ok"
    settings.API_KEY_PEPPERS = [new]  # renewed meanwhile: the old one may go
    key_cache.verified_keys.clear()
    assert authentication.authenticate(raw_key).outcome == "ok"
    assert hashed == []


def test_without_its_pepper_a_key_is_checked_by_bcrypt(hashed: list[bytes], settings: Any) -> None:
    raw_key = issued_key().raw_key
    settings.API_KEY_PEPPERS = ["another-pepper-of-thirty-two-characters"]
    assert authentication.authenticate(raw_key).outcome == "ok"
    assert len(hashed) == 1


def test_fast_hash_is_no_proof_without_the_hash_that_it_was_made_for(hashed: list[bytes]) -> None:
    issued, other = issued_key(), issued_key()
    ApiKey.objects.filter(pk=issued.key.pk).update(key_hash=other.key.key_hash)
    assert authentication.authenticate(issued.raw_key).outcome == "unknown"
    assert len(hashed) == 1


def test_a_row_in_memory_and_in_the_hands_of_a_caller_holds_no_hash() -> None:
    key = authentication.authenticate(issued_key().raw_key).key
    assert set(authentication.HASHES) <= key.get_deferred_fields()


def test_revocation_is_seen_at_once_in_this_process() -> None:
    issued = issued_key()
    assert authentication.authenticate(issued.raw_key).outcome == "ok"
    lifecycle.revoke(issued.key, actor="ada", reason="lost")
    verdict = authentication.authenticate(issued.raw_key)
    assert (verdict.outcome, verdict.key.revoked_reason) == ("revoked", "lost")


@pytest.mark.parametrize(
    ("statement", "outcome"),
    [
        ("UPDATE api_keys SET revoked_at = now() WHERE id = %s", "revoked"),
        ("UPDATE api_keys SET expires_at = now() WHERE id = %s", "expired"),
        (
            "UPDATE users SET status = 'suspended' WHERE id = (SELECT user_id FROM api_keys WHERE id = %s)",
            "suspended",
        ),
        ("DELETE FROM api_keys WHERE id = %s", "unknown"),
    ],
)
def test_a_change_made_elsewhere_is_seen_within_five_seconds_without_another_hash(
    statement: str, outcome: str, later: Any, hashed: list[bytes]
) -> None:
    issued = issued_key()
    assert authentication.authenticate(issued.raw_key).outcome == "ok"
    with connection.cursor() as cursor:
        cursor.execute(statement, [issued.key.pk])
    later(5)
    assert authentication.authenticate(issued.raw_key).outcome == outcome
    assert hashed == []


def test_a_row_read_before_a_revocation_is_not_remembered_after_it() -> None:
    issued = issued_key()
    memory = key_cache.verified_keys
    entry = memory.remember(memory.digest(issued.raw_key), issued.key.pk)
    read, generation = ApiKey.objects.select_related("user").get(), memory.generation
    lifecycle.revoke(issued.key, actor="ada", reason="lost")  # between another thread's read and its store
    memory.refresh(entry, read, generation)
    assert authentication.authenticate(issued.raw_key).outcome == "revoked"


def test_expiry_ends_a_remembered_key_to_the_moment(monkeypatch: pytest.MonkeyPatch) -> None:
    issued = issued_key(expires_at=timezone.now() + timedelta(hours=1))
    assert authentication.authenticate(issued.raw_key).outcome == "ok"
    monkeypatch.setattr(lifecycle.timezone, "now", lambda: issued.key.expires_at)
    assert authentication.authenticate(issued.raw_key).outcome == "expired"


def test_a_caller_cannot_change_what_is_remembered() -> None:
    raw_key = issued_key().raw_key
    authentication.authenticate(raw_key).key.revoked_at = timezone.now()
    assert authentication.authenticate(raw_key).outcome == "ok"


def test_keys_of_a_suspended_customer_are_refused_and_work_again_after() -> None:
    user = customer()
    raw_key = issued_key(user).raw_key
    User.objects.filter(pk=user.pk).update(status="suspended")
    assert authentication.authenticate(raw_key).outcome == "suspended"
    User.objects.filter(pk=user.pk).update(status="active")
    key_cache.verified_keys.clear()
    assert authentication.authenticate(raw_key).outcome == "ok"


def test_a_row_with_a_broken_hash_refuses_and_does_not_crash() -> None:
    issued = issued_key()
    ApiKey.objects.filter(pk=issued.key.pk).update(key_hash="nonsense")
    assert authentication.authenticate(issued.raw_key).outcome == "unknown"


def test_the_memory_is_bounded_and_holds_no_raw_key() -> None:
    memory = key_cache.VerifiedKeys(capacity=2)
    raw_keys = [key_format.generate("production") for _ in range(3)]
    for raw_key in raw_keys:
        memory.remember(memory.digest(raw_key), None)
    assert [memory.find(memory.digest(raw_key)) is None for raw_key in raw_keys] == [True, False, False]
    assert not any(raw_key in str(memory._entries) for raw_key in raw_keys)


def test_brute_force_is_counted_by_source_and_stopped(hashed: list[bytes]) -> None:
    raw_key = issued_key().raw_key
    for _ in range(brute_force.LIMIT):
        assert authentication.authenticate(key_format.generate("production"), source="203.0.113.9").outcome == "unknown"
    hashed.clear()
    assert authentication.authenticate(key_format.generate("production"), source="203.0.113.9").outcome == "stopped"
    assert hashed == []
    assert authentication.authenticate(raw_key, source="203.0.113.10").outcome == "ok"
    totals = AuthenticationFailure.objects.filter(source="203.0.113.9").values_list("kind", "failures")
    assert sum(failures for _, failures in totals) == brute_force.LIMIT
    assert {kind for kind, _ in totals} == {"api_key"}


def test_a_stopped_source_is_let_in_again_after_a_while() -> None:
    raw_key = issued_key().raw_key
    brute_force.count_failure("api_key", "203.0.113.9")
    AuthenticationFailure.objects.update(failures=brute_force.LIMIT)
    assert authentication.authenticate(raw_key, source="203.0.113.9").outcome == "stopped"
    AuthenticationFailure.objects.update(window_start=timezone.now() - 2 * brute_force.WINDOW)
    assert authentication.authenticate(raw_key, source="203.0.113.9").outcome == "ok"


def test_the_same_wrong_key_again_costs_no_hash(hashed: list[bytes]) -> None:
    wrong = key_format.generate("production")
    for _ in range(10):
        assert authentication.authenticate(wrong).outcome == "unknown"
    assert len(hashed) == 1


def test_strangers_keys_leave_threads_to_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """As many as may be are in bcrypt; the next one is told to come again, and an issued key is not."""
    issued = issued_key()
    monkeypatch.setattr(authentication, "WAIT_SECONDS", 0)
    for _ in range(4):
        assert authentication._at_once.acquire(blocking=False)
    try:
        with pytest.raises(authentication.Busy):
            authentication.authenticate(_wrong_secret(issued.raw_key))
        assert authentication.authenticate(issued.raw_key).outcome == "ok"
    finally:
        for _ in range(4):
            authentication._at_once.release()
    assert authentication.authenticate(_wrong_secret(issued.raw_key)).outcome == "unknown"
