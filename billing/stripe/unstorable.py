"""What of Stripe's does not fit our tables: said of the object, so that the others go on."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from django.core.exceptions import ValidationError
from django.db import DataError, IntegrityError, transaction
from psycopg import errors as pg

from billing.stripe.errors import UnstorableError

logger = logging.getLogger(__name__)

# Of a constraint that is about the row alone: no other writer can have caused it.
_ABOUT_THE_ROW = (pg.CheckViolation, pg.NotNullViolation)
# What code that reads an object meets where the object is not of the form that Stripe documents. dj-stripe raises
# RuntimeError for an id that is empty, its models' fields raise ValidationError.
MISREAD = (
    *(ArithmeticError, AttributeError, LookupError, OSError, RuntimeError, StopIteration, TypeError, ValueError),
    ValidationError,
)


@contextmanager
def explained(subject: str, *, undo: bool = True) -> Iterator[None]:
    """Undo what the block wrote, and raise UnstorableError, when what Stripe says of `subject` does not fit.

    With `undo` false it is left to the caller's transaction, which the error must end. A race that another writer won
    is raised as it is: trying again helps.
    """
    try:
        with transaction.atomic(savepoint=undo):
            yield
    except (DataError, IntegrityError) as error:
        if isinstance(error, IntegrityError) and not isinstance(error.__cause__, _ABOUT_THE_ROW):
            raise
        raise UnstorableError(f"{subject} cannot be stored: {_first_line(error)}") from error
    except MISREAD as error:
        logger.warning("%s cannot be stored", subject, exc_info=True)
        raise UnstorableError(f"{subject} cannot be stored: {_said(error)}") from error


def _first_line(error: Exception) -> str:
    if isinstance(error, ValidationError):
        return error.messages[0]
    return (str(error).splitlines() or [type(error).__name__])[0]


def _said(error: Exception) -> str:
    """A ValueError of ours is a sentence; of what Python says, the kind of error says more than its text."""
    line = _first_line(error)
    return (
        line if type(error) is ValueError else f"Stripe's answer has an unknown form ({type(error).__name__}: {line})"
    )
