"""How an API key is checked: by an HMAC, in a process that has not seen it too; by bcrypt once a key and pepper."""

import base64
import copy
import hashlib
import logging
import threading
from dataclasses import dataclass
from enum import StrEnum
from functools import cache

import bcrypt
from django.conf import settings

from billing.keys import fast_hash
from billing.keys import format as key_format
from billing.keys.cache import verified_keys
from billing.models import ApiKey, User
from glyphforge.errors import Refused
from glyphforge.web import brute_force

logger = logging.getLogger(__name__)


# Half of the threads of `deploy/gunicorn.conf.py`, each for a quarter of a second.
_at_once = threading.BoundedSemaphore(4)
WAIT_SECONDS = 1.0

# What is read to check a key, and not kept with the row.
HASHES = ("key_hash", "key_fast_hash")


class Busy(Refused):
    """As many keys as may be are checked by bcrypt already; to be asked again in a second."""


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

    Never raises for bad input; raises Busy where strangers' keys keep too many threads. `source`, the address the
    request came from, is stopped after too many failures. A mistyped key costs neither a query nor a hash. A wrong
    prefix and a wrong secret both cost one query and one bcrypt, so that time does not tell them apart. An issued key
    costs one query and HMACs the first time, then an HMAC, and a query every three seconds.
    """
    if not isinstance(raw_key, str) or not key_format.is_well_formed(raw_key):
        return Verdict(Outcome.MALFORMED)
    digest = verified_keys.digest(raw_key)
    entry = verified_keys.find(digest)
    if entry is None:
        if source and brute_force.is_stopped(brute_force.Kind.API_KEY, source):
            return Verdict(Outcome.STOPPED)
        generation = verified_keys.generation
        key = matching_key(raw_key)
        entry = verified_keys.remember(digest, key.pk if key else None)
        if key is None:
            _count_failure(raw_key, source)
        else:
            verified_keys.refresh(entry, key, generation)
    if entry.key_id is None:
        return Verdict(Outcome.UNKNOWN)

    row = entry.row if verified_keys.is_fresh(entry) else None
    if row is None:
        generation = verified_keys.generation
        row = ApiKey.objects.select_related("user").defer(*HASHES).filter(pk=entry.key_id).first()
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


def matching_key(raw_key: str) -> ApiKey | None:
    """The row that the raw key belongs to, with its user and without its hashes; a wrong key costs one bcrypt."""
    prefix = key_format.key_prefix(raw_key)
    candidates = list(ApiKey.objects.select_related("user").filter(key_prefix=prefix).order_by("pk"))
    key = next((each for each in candidates if fast_hash.confirms(raw_key, each)), None)
    if key is None:
        key = next((each for each in candidates if _matches(raw_key, each.key_hash)), None)
    if key is not None:
        fast_hash.renew(raw_key, key)
        for name in HASHES:
            delattr(key, name)  # loaded again by whoever asks
    elif not candidates:
        _matches(raw_key, _dummy_hash())
    return key


def _matches(raw_key: str, key_hash: str) -> bool:
    """By bcrypt, for so many at once as leave other threads to answer: strangers can ask for as many as they like."""
    if not _at_once.acquire(timeout=WAIT_SECONDS):
        raise Busy("Too many unknown keys are being checked. Ask again.")
    try:
        return bcrypt.checkpw(_prehash(raw_key), key_hash.encode())
    except ValueError:
        logger.warning(
            "The stored hash of %s… is no bcrypt hash; nobody can use that key", key_format.prefix_of(raw_key)
        )
        return False
    finally:
        _at_once.release()


def _prehash(raw_key: str) -> bytes:
    return base64.b64encode(hashlib.sha256(raw_key.encode()).digest())


@cache
def _dummy_hash() -> str:
    return hash_key(key_format.generate(ApiKey.Environment.DEVELOPMENT))


def _count_failure(raw_key: str, source: str | None) -> None:
    prefix = key_format.key_prefix(raw_key)
    brute_force.count_failure(brute_force.Kind.API_KEY, source or "unknown", prefix)
    logger.warning("A well-formed but unknown key was tried: %s…", prefix, extra={"source": source})
