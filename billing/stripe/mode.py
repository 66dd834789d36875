"""Live or test: whether the keys are those of the mode that `STRIPE_LIVE_MODE` names.

https://docs.stripe.com/keys#test-live-modes
"""

from django.conf import settings


def name() -> str:
    """`live` or `test`: the mode whose events are processed."""
    return "live" if settings.STRIPE_LIVE_MODE else "test"


def problems() -> list[str]:
    """A sentence for each key that does not fit the mode: events of the other one are stored and ignored."""
    found: list[str] = []
    if settings.STRIPE_LIVE_SECRET_KEY and not settings.STRIPE_LIVE_MODE:
        found.append(
            "STRIPE_LIVE_SECRET_KEY is set while STRIPE_LIVE_MODE is off: events of customers who pay are ignored."
        )
    if settings.STRIPE_LIVE_MODE and not settings.STRIPE_LIVE_SECRET_KEY:
        found.append("STRIPE_LIVE_MODE is on without STRIPE_LIVE_SECRET_KEY: nothing can be asked of Stripe.")
    return found
