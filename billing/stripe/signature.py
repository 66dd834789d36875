"""Whether Stripe signed what came in at the webhook endpoint."""

import time

import stripe
from django.conf import settings

from billing.stripe.errors import InvalidSignatureError
from glyphforge.database.clock import database_time

TOLERANCE_SECONDS = 300


def verify(body: bytes, header: str) -> None:
    """Accept `body` when one of the endpoint's secrets signed it within 300 seconds of now; else InvalidSignatureError.

    `header` is the request's `Stripe-Signature`. Several secrets are valid at once while they are rotated:
    https://docs.stripe.com/webhooks. What this machine's clock would refuse the
    database's may still accept: no event is lost to a web machine whose clock is wrong.
    """
    if not settings.STRIPE_WEBHOOK_SECRETS:
        raise InvalidSignatureError("STRIPE_WEBHOOK_SECRET is not set; no event can be verified")
    if not header.isascii():
        raise InvalidSignatureError("the signature is not ASCII")  # comparing it in constant time would fail
    problem = "no signature"
    for secret in settings.STRIPE_WEBHOOK_SECRETS:
        try:
            stripe.WebhookSignature.verify_header(body, header, secret, tolerance=None)
        except stripe.SignatureVerificationError as error:
            problem = error.user_message or "signature mismatch"
        except UnicodeDecodeError:
            problem = "the body is not UTF-8"
        else:
            _require_recent(header)
            return
    raise InvalidSignatureError(problem)


def _require_recent(header: str) -> None:
    """Either way: a timestamp far ahead would stay valid for as long."""
    parts = (part.split("=", 2) for part in header.split(","))
    moment = next(int(values[0]) for name, *values in parts if name == "t")
    if abs(time.time() - moment) <= TOLERANCE_SECONDS:
        return
    seconds = database_time().timestamp() - moment
    if abs(seconds) > TOLERANCE_SECONDS:
        when = "in the past" if seconds > 0 else "in the future"
        raise InvalidSignatureError(f"the timestamp lies {abs(seconds):.0f} s {when}, by the database's clock")
