"""How an API key is checked: at the cost of one hash when it is new to this process, of none when it is not."""

import base64
import copy
import hashlib
import logging
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from uuid import UUID

import bcrypt
from django.conf import settings

from billing.keys import format as key_format
from billing.keys.cache import verified_keys
from billing.models import ApiKey, User
from glyphforge.web import brute_force

logger = logging.getLogger(__name__)


class Outcome(StrEnum):
    """What the check of a raw key came to. MALFORMED and UNKNOWN say nothing about which keys exist.

    SUSPENDED is an owner who is not active; STOPPED a source that has failed too often to be checked.
    """

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


def authenticate(raw_key: str, *, source: str | None = None) -> Verdict:
    """Find the row of a key, with its user loaded, and say whether it may be used now and, if not, why.

    Never raises for bad input. `source`, the address the request came from, is stopped after too many failures. A
    mistyped key costs neither a query nor a hash. A wrong prefix and a wrong secret both cost one query and one hash,
    so that time does not tell them apart. A key checked before costs an HMAC, and a query every three seconds.
    """
    if not isinstance(raw_key, str) or not key_format.is_well_formed(raw_key):
        return Verdict(Outcome.MALFORMED)
    digest = verified_keys.digest(raw_key)
    entry = verified_keys.find(digest)
    if entry is None:
        if source and brute_force.is_stopped(brute_force.Kind.API_KEY, source):
            return Verdict(Outcome.STOPPED)
        entry = verified_keys.remember(digest, matching_key_id(raw_key))
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
    return Verdict(state(row), copy.copy(row))


def hash_key(raw_key: str) -> str:
    """Hash a key for storing: SHA-256 first, as bcrypt takes no more than 72 bytes, then bcrypt."""
    return bcrypt.hashpw(_prehash(raw_key), bcrypt.gensalt(settings.API_KEY_BCRYPT_ROUNDS)).decode("ascii")


def state(row: ApiKey) -> Outcome:
    """Whether the key of a row may be used now: OK, REVOKED, SUSPENDED or EXPIRED."""
    if row.revoked_at is not None:
        return Outcome.REVOKED
    if row.user.status != User.Status.ACTIVE:
        return Outcome.SUSPENDED
    if row.is_expired:
        return Outcome.EXPIRED
    return Outcome.OK


def matching_key_id(raw_key: str) -> UUID | None:
    """The id of the row that the raw key belongs to. Takes as long when there is none."""
    candidates = list(
        ApiKey.objects.filter(key_prefix=key_format.key_prefix(raw_key)).values_list("pk", "key_hash").order_by("pk")
    )
    if not candidates:
        _matches(raw_key, _dummy_hash())
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
def _dummy_hash() -> str:
    return hash_key(key_format.generate(ApiKey.Environment.DEVELOPMENT))


def _count_failure(raw_key: str, source: str | None) -> None:
    prefix = key_format.key_prefix(raw_key)
    brute_force.count_failure(brute_force.Kind.API_KEY, source or "unknown", prefix)
    logger.warning("A well-formed but unknown key was tried: %s…", prefix, extra={"source": source})
