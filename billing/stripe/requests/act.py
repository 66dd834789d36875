"""What every kind of change that Stripe is asked for can do: say itself, be made, be looked up."""

from abc import ABC, abstractmethod
from datetime import timedelta
from typing import Any, ClassVar

from billing.models import StripeRequest

# Stripe's clock and the database's may differ by so much.
SKEW = timedelta(seconds=60)
STALE = "The row here changes when Stripe's event comes; Sync from Stripe brings it now."


class Act(ABC):
    """One kind of request. `table` is where our row of the object is, which the audit row names."""

    table: ClassVar[str]
    # Asked twice it is done twice: equal content without a token of its own is taken for the same request.
    adds: ClassVar[bool] = False

    @abstractmethod
    def words(self, request: StripeRequest) -> str:
        """What was asked for, to stand in a sentence."""

    def prepare(self, request: StripeRequest) -> Any:
        """Raise `Refused` where Stripe's state says that it is not to be asked for; returns what `make` needs of it."""
        return None

    @abstractmethod
    def make(self, request: StripeRequest, prepared: Any) -> str:
        """Ask Stripe; returns the id of what it made or changed. Raises what `billing.stripe.gateway` raises."""

    @abstractmethod
    def look(self, request: StripeRequest) -> str | None:
        """The id of what Stripe made or changed, where its state shows that it did; None where it does not."""

    def is_repeated(self, request: StripeRequest) -> bool:
        """Whether it is asked for again, under its key, once it is sure that it was not done."""
        return False
