"""The classes of errors of event processing: worth retrying, or waiting for a person."""


class TransientError(Exception):
    """Trying again later may help: a timeout, a busy or failing Stripe, a lock that was not free.

    `retry_after` is the number of seconds that Stripe asked to wait, if it did.
    """

    def __init__(self, message: str, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class BusyError(TransientError):
    """Somebody else is at work on the customer."""


class UnansweredError(TransientError):
    """The answer is lost: what was asked for may have been done."""


class PartlyDoneError(TransientError):
    """Some of it is written and stays; trying again does the rest."""


class PermanentError(Exception):
    """Trying again does not help until somebody does what the message says: the event is parked.

    `waits_for` names what releases it, the cause first: a Stripe customer, a price, an e-mail address in lower case.
    """

    waits_for: tuple[str, ...] = ()


class MissingError(PermanentError):
    """Stripe does not know the object."""


class UnstorableError(PermanentError):
    """What Stripe says does not fit our tables."""


class UnlinkedCustomerError(PermanentError):
    """A Stripe customer that belongs to no customer here, and that only a person may link to one."""

    def __init__(self, message: str, *, stripe_customer_id: str, email: str | None, name: str) -> None:
        super().__init__(message)
        self.waits_for = (stripe_customer_id, *([email.strip().lower()] if email and email.strip() else []))
        self.stripe_customer_id = stripe_customer_id
        self.email = email
        self.name = name


class UnmappedPriceError(PermanentError):
    """No plan claims the price."""

    def __init__(self, message: str, *, stripe_price_id: str) -> None:
        super().__init__(message)
        self.waits_for = (stripe_price_id,)
        self.stripe_price_id = stripe_price_id


class AddressTakenError(PermanentError):
    """Another customer here has the address."""

    def __init__(self, message: str, *, email: str) -> None:
        super().__init__(message)
        self.waits_for = (email.lower(),)


class ForeignError(Exception):
    """It is declared to be none of ours: there is nothing to do."""


class InvalidSignatureError(Exception):
    """A delivery that does not come from Stripe, or is too old or too far ahead to be accepted."""
