"""What becomes of API keys: issued, rotated, revoked, reported as leaked."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta

from django.db import transaction
from django.utils import timezone
from django_q.tasks import async_task

from billing.keys import authentication, fast_hash
from billing.keys import format as key_format
from billing.keys.cache import verified_keys
from billing.models import ApiKey, User
from glyphforge import audit
from glyphforge.audit.masking import mask
from glyphforge.errors import Refused
from glyphforge.text import storable

DEFAULT_OVERLAP = timedelta(hours=24)
LONGEST_OVERLAP = timedelta(days=30)
LONGEST_NAME = 200
LONGEST_REASON = 2000


@dataclass(frozen=True)
class IssuedKey:
    """A new key and, this once, the key itself, `raw_key`; it is stored nowhere and cannot be shown again."""

    key: ApiKey
    raw_key: str = field(repr=False)


def issue(
    user: User,
    *,
    environment: str,
    actor: str,
    reason: str,
    name: str = "",
    expires_at: datetime | None = None,
) -> IssuedKey:
    """Create a key and return it whole, this once.

    Refuses an unknown environment, a past expiry, an empty reason, a name over 200 characters, a reason over 2,000 and
    a customer who is not active. Keys and other secrets in `name` and `reason` are masked.
    """
    if environment not in ApiKey.Environment.values:
        raise Refused(f"{environment!r} is no environment; use {', '.join(ApiKey.Environment.values)}.")
    _require_future(expires_at)
    name = _cleaned(name, "name", LONGEST_NAME)
    reason = _cleaned_reason(reason)
    with audit.acting_as(actor=actor, reason=reason), transaction.atomic():
        owner = User.objects.select_for_update().get(pk=user.pk)
        if owner.status != User.Status.ACTIVE:
            raise Refused(f"{owner.email} is {owner.get_status_display().lower()} and gets no keys.")
        raw_key = _unused_key(environment)
        key_hash = authentication.hash_key(raw_key)
        key = ApiKey.objects.create(
            user=owner,
            name=name,
            environment=environment,
            key_prefix=key_format.key_prefix(raw_key),
            key_hash=key_hash,
            key_fast_hash=fast_hash.compute(raw_key, key_hash),
            expires_at=expires_at,
        )
    return IssuedKey(key, raw_key)


def rotate(key: ApiKey, *, actor: str, reason: str, overlap: timedelta = DEFAULT_OVERLAP) -> IssuedKey:
    """Issue a successor and let the old key expire after the overlap, in which both work.

    The successor lives as long as the old key was made to. Refuses a key that is revoked, expired or replaced already,
    what `issue` refuses, and an overlap that is negative or longer than 30 days.
    """
    if not timedelta(0) <= overlap <= LONGEST_OVERLAP:
        raise Refused(f"The overlap must be between 0 and {LONGEST_OVERLAP.days} days.")
    reason = _cleaned_reason(reason)
    with audit.acting_as(actor=actor, reason=reason), transaction.atomic():
        old = _locked(key)
        _require_usable(old)
        if old.replaced_at:
            raise Refused(
                f"{old.key_prefix}… was replaced on {old.replaced_at:%Y-%m-%d %H:%M} UTC: rotate its successor."
            )
        lifetime = old.expires_at - old.created_at if old.expires_at else None
        successor = issue(
            old.user,
            environment=old.environment,
            name=old.name,
            expires_at=timezone.now() + lifetime if lifetime else None,
            actor=actor,
            reason=reason,
        )
        old.replaced_at = timezone.now()
        ends_at = old.replaced_at + overlap
        old.expires_at = min(old.expires_at, ends_at) if old.expires_at else ends_at
        old.save(update_fields=["expires_at", "replaced_at"])
        _forget(old)
    return successor


def revoke(key: ApiKey, *, actor: str, reason: str) -> ApiKey:
    """End the key for good: at once in this process, within five seconds everywhere; returns its row.

    Refuses a key that is revoked already, and an empty reason.
    """
    reason = _cleaned_reason(reason)
    with audit.acting_as(actor=actor, reason=reason), transaction.atomic():
        row = _locked(key)
        if row.revoked_at:
            raise Refused(f"{row.key_prefix}… was already revoked on {row.revoked_at:%Y-%m-%d %H:%M} UTC.")
        row.revoked_at, row.revoked_reason = timezone.now(), reason
        row.save(update_fields=["revoked_at", "revoked_reason"])
        _forget(row)
    return row


def report_leaked(prefix_or_key: str, *, actor: str, reason: str) -> list[ApiKey]:
    """Revoke the key that was found in the open, given whole or by its prefix, and tell customer and staff.

    Returns the keys that it revoked. Refuses a text that is no key, is mistyped or names no key in use, and an empty
    reason. The text is neither stored nor repeated beyond its prefix.
    """
    text = prefix_or_key.strip().rstrip(".…*")
    prefix = key_format.prefix_of(text)
    if prefix is None:
        raise Refused("That is neither a key nor the beginning of one; a prefix reads like glyph_sk_live_1a2B3c4D.")
    if text != prefix and not key_format.is_well_formed(text):
        raise Refused(f"{prefix}… is mistyped or cut off; report the prefix alone if that is all there is.")
    found = list(ApiKey.objects.filter(key_prefix=prefix).order_by("created_at"))
    if text != prefix:
        matching = authentication.matching_key(text)
        found = [key for key in found if key == matching]
    usable = [key for key in found if key.revoked_at is None]
    if not usable:
        raise Refused(f"{prefix}… is already revoked." if found else f"No key begins with {prefix}.")
    with transaction.atomic():
        revoked = [revoke(key, actor=actor, reason=f"Reported as leaked: {_cleaned_reason(reason)}") for key in usable]
        for key in revoked:
            # Queued in this transaction: told if and only if revoked, and told again when a mail server was down.
            async_task("billing.tasks.send_leak_notice", str(key.pk))
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
        if not ApiKey.objects.filter(key_prefix=key_format.key_prefix(raw_key)).exists():
            return raw_key


def _cleaned_reason(reason: str) -> str:
    """The reason as it may be stored; people paste keys into it."""
    if not reason.strip():
        raise Refused("A reason is needed.")
    return _cleaned(reason.strip(), "reason", LONGEST_REASON)


def _cleaned(text: str, what: str, longest: int) -> str:
    if len(text) > longest:
        raise Refused(f"The {what} may have {longest:,} characters, not {len(text):,}.")
    return mask(storable(text))


def _require_future(moment: datetime | None) -> None:
    if moment is not None and moment <= timezone.now():
        raise Refused("The expiry must be in the future.")


def _require_usable(key: ApiKey) -> None:
    state = authentication.state(key)
    if state in {authentication.Outcome.REVOKED, authentication.Outcome.EXPIRED}:
        raise Refused(f"{key.key_prefix}… is already {state}.")
