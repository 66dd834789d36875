"""What the local Stripe answers where it says no."""

from __future__ import annotations


class RefusalError(Exception):
    """An error answer: HTTP status plus the members of Stripe's `error` object, https://docs.stripe.com/api/errors"""

    def __init__(self, status: int, message: str, *, code: str | None = None, param: str = "id"):
        super().__init__(message)
        self.status = status
        self.body = {
            "error": {
                "type": "invalid_request_error",
                "message": message,
                "code": code,
                "param": param,
            }
        }


def missing(kind: str, object_id: str) -> RefusalError:
    """The answer for an id that this account does not have."""
    name = kind.replace("_", " ")
    return RefusalError(404, f"No such {name}: '{object_id}'", code="resource_missing")
