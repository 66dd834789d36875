"""How a service speaks with Stripe on somebody's behalf: refusals come back as sentences."""

from collections.abc import Iterator
from contextlib import contextmanager

from billing.stripe.errors import PartlyDoneError, PermanentError, TransientError
from glyphforge.errors import Refused


@contextmanager
def errors_as_refused() -> Iterator[None]:
    """Turn what Stripe refuses, or does not answer now, into `Refused`.

    Of a `TransientError` the message adds that nothing was changed, so a block that commits before it raises
    `PartlyDoneError` instead.
    """
    try:
        yield
    except PartlyDoneError as error:
        raise Refused(f"{error} What was done before stays; try again in a minute for the rest.") from error
    except PermanentError as error:
        raise Refused(str(error)) from error
    except TransientError as error:
        raise Refused(f"{error} Nothing was changed; try again in a minute.") from error
