"""One writer a customer: whoever fetches from Stripe for a customer holds this lock until it has written."""

from django.db import OperationalError, connection
from psycopg.errors import LockNotAvailable

from billing.stripe.errors import BusyError

# Longer than one event takes, far shorter than the lease of 15 minutes.
WAIT = "20s"


def acquire(key: str) -> None:
    """Wait for the lock on `key` (a customer's id) and hold it until the transaction ends.

    It must come before the fetch: who fetched later then also writes later, so that the state of an older fetch cannot
    overwrite a newer one. Raises BusyError when it is not free within 20 seconds, RuntimeError outside a
    transaction. The limit holds for every later lock of the transaction too:
    https://www.postgresql.org/docs/current/explicit-locking.html#ADVISORY-LOCKS
    """
    if not connection.in_atomic_block:
        raise RuntimeError("customer_lock: needs a transaction to live in")
    with connection.cursor() as cursor:
        try:
            cursor.execute(
                "SELECT set_config('lock_timeout', %s, true),"
                " pg_advisory_xact_lock(hashtextextended('stripe:' || %s, 0))",
                [WAIT, key],
            )
        except OperationalError as error:
            if isinstance(error.__cause__, LockNotAvailable):
                raise BusyError(f"Somebody else has been at work on {key} for {WAIT}.") from error
            raise
