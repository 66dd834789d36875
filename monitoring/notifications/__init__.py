"""Messages about alerts: written down, routed, delivered."""


class Undelivered(Exception):  # noqa: N818 - a fact, as in `except Undelivered`
    """The message did not get through; it will be tried again, not before `retry_after_seconds` where they are named.

    `channel_is_up` says that the channel refused this message for itself: others may well get through.
    """

    def __init__(self, message: str, *, retry_after_seconds: int | None = None, channel_is_up: bool = False) -> None:
        super().__init__(message)
        self.retry_after_seconds = retry_after_seconds
        self.channel_is_up = channel_is_up
