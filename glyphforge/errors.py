"""How a service says no, and how a loop says that something is left."""

from collections.abc import Sequence

NAMED = 20


class Refused(Exception):  # noqa: N818 - a decision, not an error
    """The operation may not happen now; the message says why, to the person who asked for it."""


class Notice(Refused):
    """Nothing was done now and nothing is wrong: the message says what was done before, or is not known yet."""


class LeftOut(Exception):  # noqa: N818 - a fact, as in `except LeftOut`
    """Of many things some could not be done, and kept no other: the message counts and names them, up to 20.

    `done` is how many were.
    """

    def __init__(self, left: Sequence[str], *, done: int) -> None:
        more = [f"and {len(left) - NAMED} more"] if len(left) > NAMED else []
        super().__init__(f"{len(left)} left out: {'; '.join([*left[:NAMED], *more])}")
        self.left = list(left)
        self.done = done
