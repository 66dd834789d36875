"""What operations that change something at Stripe have in common."""

from billing.models import StripeRequest, Subscription
from billing.stripe.requests import outbox
from glyphforge.admin.operations import Operation


class StripeOperation(Operation):
    """Asks Stripe once for each rendering of its form, and says what became of it when the form is sent again."""

    once = False

    def recall(self, token: str) -> str | None:
        return outbox.recall(token)


class SubscriptionOperation(StripeOperation):
    """Changes a subscription at Stripe."""

    def describe(self, row: Subscription) -> str:
        return f"{row} of {row.user} · {row.stripe_subscription_id}"


def told(sentence: str, request: StripeRequest) -> str:
    """What was done, and how it is known where the answer was lost."""
    return f"{sentence} {request.answer}".rstrip()
