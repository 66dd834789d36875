"""What the parts of the local Stripe's account have in common."""

from __future__ import annotations

from abc import ABC, abstractmethod

from demo.stripe.refusals import missing
from glyphforge.rows import Json


class Account(ABC):
    """The objects of an account by their ids, and the events of what changes."""

    objects: dict[str, Json]

    @abstractmethod
    def emit(self, event_type: str, item: Json, previous: Json | None = None) -> Json:
        """Append the event that Stripe would send for a change of `item` and return it."""

    @abstractmethod
    def new_id(self, prefix: str) -> str:
        """An id that no object has."""

    def _live(self, kind: str, object_id: str) -> Json:
        found = self.objects.get(object_id)
        if found is None or found.get("object") != kind or found.get("deleted"):
            raise missing(kind, object_id)
        return found
