"""What stands beside a key's bcrypt hash so that a process which has not seen the key need not compute it.

A key has 154 random bits: bcrypt, which makes guessing slow, adds nothing to an HMAC under a secret that a thief of the
database does not have. bcrypt stays the proof: the HMAC covers the stored hash, so it counts for nothing once that is
changed, and a key that no known pepper confirms is checked by bcrypt as ever.
"""

import hmac

from django.conf import settings

from billing.models import ApiKey


def compute(raw_key: str, key_hash: str) -> str:
    """The value to store for a key with this bcrypt hash, under today's pepper: 64 hexadecimal digits."""
    return _under(settings.API_KEY_PEPPERS[0], raw_key, key_hash)


def confirms(raw_key: str, key: ApiKey) -> bool:
    """Whether the stored value says that the raw key is this row's, under any pepper of `API_KEY_PEPPER`.

    False says nothing: there may be none, or one under a pepper that is gone.
    """
    stored = key.key_fast_hash or ""
    return any(
        hmac.compare_digest(stored, _under(pepper, raw_key, key.key_hash)) for pepper in settings.API_KEY_PEPPERS
    )


def renew(raw_key: str, key: ApiKey) -> None:
    """Store the value under today's pepper, unless it is there, or the hash was changed meanwhile."""
    value = compute(raw_key, key.key_hash)
    if key.key_fast_hash != value:
        ApiKey.objects.filter(pk=key.pk, key_hash=key.key_hash).update(key_fast_hash=value)


def _under(pepper: str, raw_key: str, key_hash: str) -> str:
    return hmac.digest(pepper.encode(), f"{raw_key} {key_hash}".encode(), "sha256").hex()
