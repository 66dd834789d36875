"""What this process remembers of keys it has checked, so that not every request asks the database.

Two clocks. That a raw key belongs to a row never changes, so it is kept for minutes. What may happen to the row
(revoked, expired, its owner suspended), in whatever process or by psql, is read again every few seconds; a change made
in this process is seen at once. Raw keys are kept as HMACs under a random secret of this process: a memory dump of the
cache gives nobody a key.
"""

import hmac
import secrets
import threading
import time
from collections import OrderedDict
from dataclasses import dataclass
from uuid import UUID

from billing.models import ApiKey

PROOF_SECONDS = 600.0
ROW_SECONDS = 3.0  # the promise to the outside is 5
WRONG_SECONDS = 60.0
CAPACITY = 20_000


@dataclass(slots=True)
class Entry:
    """A raw key that was checked: the row it belongs to, or None when it belongs to none."""

    key_id: UUID | None
    until: float
    row: ApiKey | None = None
    row_until: float = 0.0


class VerifiedKeys:
    """A bounded, thread-safe memory of checked keys."""

    def __init__(self, capacity: int = CAPACITY) -> None:
        self._capacity = capacity
        self._secret = secrets.token_bytes(32)
        self._entries: OrderedDict[bytes, Entry] = OrderedDict()
        self._forgotten = 0
        self._lock = threading.Lock()

    def digest(self, raw_key: str) -> bytes:
        """Compute the HMAC under which this process keeps a raw key; another process computes another."""
        return hmac.digest(self._secret, raw_key.encode(), "sha256")

    @property
    def generation(self) -> int:
        """A number that changes whenever something was forgotten: what was read before is not stored after."""
        return self._forgotten

    def find(self, digest: bytes) -> Entry | None:
        """Look up what is known of a raw key; None when nothing is, or it is too old to be believed."""
        with self._lock:
            entry = self._entries.get(digest)
            if entry is None:
                return None
            if entry.until <= time.monotonic():
                del self._entries[digest]
                return None
            self._entries.move_to_end(digest)
            return entry

    def remember(self, digest: bytes, key_id: UUID | None) -> Entry:
        """Store which row a raw key belongs to, for ten minutes; None for a well-formed key that belongs to none.

        What belongs to none is kept for one minute. Beyond the capacity the entry used longest ago goes.
        """
        lifetime = WRONG_SECONDS if key_id is None else PROOF_SECONDS
        entry = Entry(key_id, time.monotonic() + lifetime)
        with self._lock:
            self._entries[digest] = entry
            while len(self._entries) > self._capacity:
                self._entries.popitem(last=False)
        return entry

    @staticmethod
    def is_fresh(entry: Entry) -> bool:
        """Whether the row was read within the last three seconds, so that it may decide about a request."""
        return entry.row_until > time.monotonic()

    def refresh(self, entry: Entry, row: ApiKey | None, generation: int) -> None:
        """Store the row as just read, unless a key was forgotten since `generation`."""
        with self._lock:
            if generation == self._forgotten:
                entry.row, entry.row_until = row, time.monotonic() + ROW_SECONDS

    def forget(self, key_id: UUID) -> None:
        """Have the next request with this key read its row again."""
        with self._lock:
            self._forgotten += 1
            for entry in self._entries.values():
                if entry.key_id == key_id:
                    entry.row, entry.row_until = None, 0.0

    def clear(self) -> None:
        """Forget every key: each is hashed again at its next request."""
        with self._lock:
            self._forgotten += 1
            self._entries.clear()


verified_keys = VerifiedKeys()
