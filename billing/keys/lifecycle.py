"""Customers' API keys: issued once, checked quickly, rotated, revoked and reported as leaked."""

import base64
import copy
import hashlib
import logging
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from functools import cache
from uuid import UUID

import bcrypt
from django.conf import settings
from django.db import transaction
from django.utils import timezone
from django_q.tasks import async_task

from billing.models import ApiKey, User
from billing.services import key_format
from billing.services.errors import Refused
from billing.services.verified_keys import verified_keys
from glyphforge import audit, brute_force
from glyphforge.masking import mask

logger = logging.getLogger(__name__)

DEFAULT_OVERLAP = timedelta(hours=24)
LONGEST_OVERLAP = timedelta(days=30)


@dataclass(frozen=True)
class IssuedKey:
    """A new key and, this once, the key itself; it is stored nowhere and cannot be shown again."""

    key: ApiKey
    raw_key: str = field(repr=False)


class Outcome(StrEnum):
    """What the check of a raw key came to. MALFORMED and UNKNOWN say nothing about which keys exist."""

    OK = "ok"
    MALFORMED = "malformed"
    UNKNOWN = "unknown"
    REVOKED = "revoked"
    EXPIRED = "expired"
    SUSPENDED = "suspended"
    STOPPED = "stopped"


@dataclass(frozen=True)
class Verdict:
    """The outcome, and the key's row whenever the caller has proven to hold the key."""

    outcome: Outcome
    key: ApiKey | None = None


# --- Checking -------------------------------------------------------------------------------------


def authenticate(raw_key: str, *, source: str | None = None) -> ApiKey | None:
    """The row of a key that may be used now, with its user loaded; None for any other text. Never raises for bad input.

    `source`, the address the request came from, is stopped after too many failures.
    """
    verdict = examine(raw_key, source=source)
    return verdict.key if verdict.outcome is Outcome.OK else None


def examine(raw_key: str, *, source: str | None = None) -> Verdict:
    """What `authenticate` decided and why.

    A mistyped key costs neither a query nor a hash. A wrong prefix and a wrong secret both cost one query and one
    hash, so that time does not tell them apart. A key checked before costs an HMAC, and a query every three seconds.
    """
    if not isinstance(raw_key, str) or not key_format.is_well_formed(raw_key):
        return Verdict(Outcome.MALFORMED)
    digest = verified_keys.digest(raw_key)
    entry = verified_keys.find(digest)
    if entry is None:
        if source and brute_force.is_stopped(brute_force.Kind.API_KEY, source):
            return Verdict(Outcome.STOPPED)
        entry = verified_keys.remember(digest, _holder(raw_key))
        if entry.key_id is None:
            _count_failure(raw_key, source)
    if entry.key_id is None:
        return Verdict(Outcome.UNKNOWN)

    row = entry.row if verified_keys.is_fresh(entry) else None
    if row is None:
        generation = verified_keys.generation
        row = ApiKey.objects.select_related("user").defer("key_hash").filter(pk=entry.key_id).first()
        if row is None:  # deleted with its customer
            return Verdict(Outcome.UNKNOWN)
        verified_keys.refresh(entry, row, generation)
    return Verdict(_state(row), copy.copy(row))


def hash_key(raw_key: str) -> str:
    """The bcrypt hash to store. Hashed with SHA-256 first, as bcrypt takes no more than 72 bytes."""
    return bcrypt.hashpw(_prehash(raw_key), bcrypt.gensalt(settings.API_KEY_BCRYPT_ROUNDS)).decode("ascii")


def _state(row: ApiKey) -> Outcome:
    if row.revoked_at is not None:
        return Outcome.REVOKED
    if row.user.status != User.Status.ACTIVE:
        return Outcome.SUSPENDED
    if row.expires_at is not None and row.expires_at <= timezone.now():
        return Outcome.EXPIRED
    return Outcome.OK


def _holder(raw_key: str) -> UUID | None:
    """The id of the row that the raw key belongs to. Takes as long when there is none."""
    candidates = list(
        ApiKey.objects.filter(key_prefix=key_format.shown(raw_key)).values_list("pk", "key_hash").order_by("pk")
    )
    if not candidates:
        _matches(raw_key, _nobodys_hash())
        return None
    return next((pk for pk, key_hash in candidates if _matches(raw_key, key_hash)), None)


def _matches(raw_key: str, key_hash: str) -> bool:
    try:
        return bcrypt.checkpw(_prehash(raw_key), key_hash.encode())
    except ValueError:
        logger.warning(
            "The stored hash of %s… is no bcrypt hash; nobody can use that key", key_format.prefix_of(raw_key)
        )
        return False


def _prehash(raw_key: str) -> bytes:
    return base64.b64encode(hashlib.sha256(raw_key.encode()).digest())


@cache
def _nobodys_hash() -> str:
    return hash_key(key_format.generate(ApiKey.Environment.DEVELOPMENT))


def _count_failure(raw_key: str, source: str | None) -> None:
    prefix = key_format.shown(raw_key)
    brute_force.count_failure(brute_force.Kind.API_KEY, source or "unknown", prefix)
    logger.warning("A well-formed but unknown key was tried: %s…", prefix, extra={"source": source})


# --- Changing -------------------------------------------------------------------------------------


def issue(
    user: User,
    *,
    environment: str,
    actor: str,
    reason: str,
    name: str = "",
    expires_at: datetime | None = None,
) -> IssuedKey:
    """Creates a key and returns it whole, this once. Refuses for a customer who is not active and for a past expiry."""
    if environment not in ApiKey.Environment.values:
        raise Refused(f"{environment!r} is no environment; use {', '.join(ApiKey.Environment.values)}.")
    _must_be_ahead(expires_at)
    reason = _given(reason)
    with audit.acting_as(actor=actor, reason=reason), transaction.atomic():
        owner = User.objects.select_for_update().get(pk=user.pk)
        if owner.status != User.Status.ACTIVE:
            raise Refused(f"{owner.email} is {owner.get_status_display().lower()} and gets no keys.")
        raw_key = _unused_key(environment)
        key = ApiKey.objects.create(
            user=owner,
            name=mask(name),
            environment=environment,
            key_prefix=key_format.shown(raw_key),
            key_hash=hash_key(raw_key),
            expires_at=expires_at,
        )
    return IssuedKey(key, raw_key)


def rotate(key: ApiKey, *, actor: str, reason: str, overlap: timedelta = DEFAULT_OVERLAP) -> IssuedKey:
    """Issues a successor and lets the old key expire after the overlap, in which both work.

    Refuses a key that is revoked or expired, and an overlap that is negative or longer than 30 days.
    """
    if not timedelta(0) <= overlap <= LONGEST_OVERLAP:
        raise Refused(f"The overlap must be between 0 and {LONGEST_OVERLAP.days} days.")
    reason = _given(reason)
    with audit.acting_as(actor=actor, reason=reason), transaction.atomic():
        old = _locked(key)
        _must_be_usable(old)
        lifetime = old.expires_at - old.created_at if old.expires_at else None
        successor = issue(
            old.user,
            environment=old.environment,
            name=old.name,
            expires_at=timezone.now() + lifetime if lifetime else None,
            actor=actor,
            reason=reason,
        )
        ends_at = timezone.now() + overlap
        old.expires_at = min(old.expires_at, ends_at) if old.expires_at else ends_at
        old.save(update_fields=["expires_at"])
        _forget(old)
    return successor


def revoke(key: ApiKey, *, actor: str, reason: str) -> ApiKey:
    """Ends the key for good: at once in this process, within five seconds everywhere. Refuses a revoked key."""
    reason = _given(reason)
    with audit.acting_as(actor=actor, reason=reason), transaction.atomic():
        row = _locked(key)
        if row.revoked_at:
            raise Refused(f"{row.key_prefix}… was already revoked on {row.revoked_at:%Y-%m-%d %H:%M} UTC.")
        row.revoked_at, row.revoked_reason = timezone.now(), reason
        row.save(update_fields=["revoked_at", "revoked_reason"])
        _forget(row)
    return row


def report_leaked(prefix_or_key: str, *, actor: str, reason: str) -> list[ApiKey]:
    """Revokes the key that was found in the open, given whole or by its prefix, and tells customer and staff.

    Refuses a text that names no key in use. The text is neither stored nor repeated beyond its prefix.
    """
    text = prefix_or_key.strip().rstrip(".…*")
    prefix = key_format.prefix_of(text)
    if prefix is None:
        raise Refused("That is neither a key nor the beginning of one; a prefix reads like glyph_sk_live_1a2B3c4D.")
    if text != prefix and not key_format.is_well_formed(text):
        raise Refused(f"{prefix}… is mistyped or cut off; report the prefix alone if that is all there is.")
    found = list(ApiKey.objects.filter(key_prefix=prefix).order_by("created_at"))
    if text != prefix:
        holder = _holder(text)
        found = [key for key in found if key.pk == holder]
    usable = [key for key in found if key.revoked_at is None]
    if not usable:
        raise Refused(f"{prefix}… is already revoked." if found else f"No key begins with {prefix}.")
    with transaction.atomic():
        revoked = [revoke(key, actor=actor, reason=f"Reported as leaked: {_given(reason)}") for key in usable]
        for key in revoked:
            # Queued in this transaction: told if and only if revoked, and told again when a mail server was down.
            async_task("billing.tasks.tell_of_leaked_key", str(key.pk))
    return revoked


def _locked(key: ApiKey) -> ApiKey:
    return ApiKey.objects.select_for_update(of=["self"]).select_related("user").get(pk=key.pk)


def _forget(key: ApiKey) -> None:
    """Now, and again when the change is visible to others: a request in between may have read the old row."""
    verified_keys.forget(key.pk)
    transaction.on_commit(lambda: verified_keys.forget(key.pk))


def _unused_key(environment: str) -> str:
    """A key whose prefix no other key has: support can name a key by its prefix."""
    while True:
        raw_key = key_format.generate(environment)
        if not ApiKey.objects.filter(key_prefix=key_format.shown(raw_key)).exists():
            return raw_key


def _given(reason: str) -> str:
    """The reason as it may be stored; people paste keys into it."""
    if not reason.strip():
        raise Refused("A reason is needed.")
    return mask(reason.strip())


def _must_be_ahead(moment: datetime | None) -> None:
    if moment is not None and moment <= timezone.now():
        raise Refused("The expiry must be in the future.")


def _must_be_usable(key: ApiKey) -> None:
    state = _state(key)
    if state in {Outcome.REVOKED, Outcome.EXPIRED}:
        raise Refused(f"{key.key_prefix}… is already {state}.")
