"""How a service says no."""


class Refused(Exception):  # noqa: N818 - a decision, not an error
    """The operation may not happen now; the message says why, to the person who asked for it."""
