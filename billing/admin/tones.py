"""Which colour each status has, the same on every page."""

from billing.models import (
    Difference,
    Payment,
    ReconciliationRun,
    ReplayRun,
    Subscription,
    Tier,
    User,
    WebhookEvent,
)
from glyphforge.display import Tone

CUSTOMER = {
    User.Status.ACTIVE: Tone.SUCCESS,
    User.Status.SUSPENDED: Tone.WARNING,
    User.Status.DELETED: Tone.NEUTRAL,
}
SUBSCRIPTION = {
    Subscription.Status.ACTIVE: Tone.SUCCESS,
    Subscription.Status.TRIALING: Tone.INFO,
    Subscription.Status.INCOMPLETE: Tone.WARNING,
    Subscription.Status.PAST_DUE: Tone.WARNING,
    Subscription.Status.PAUSED: Tone.WARNING,
    Subscription.Status.UNPAID: Tone.DANGER,
    Subscription.Status.INCOMPLETE_EXPIRED: Tone.NEUTRAL,
    Subscription.Status.CANCELED: Tone.NEUTRAL,
}
TIER = {
    Tier.FREE: Tone.NEUTRAL,
    Tier.STARTER: Tone.INFO,
    Tier.PROFESSIONAL: Tone.INFO,
    Tier.ENTERPRISE: Tone.SUCCESS,
}
PAYMENT = {
    Payment.Status.SUCCEEDED: Tone.SUCCESS,
    Payment.Status.PENDING: Tone.INFO,
    Payment.Status.FAILED: Tone.DANGER,
    Payment.Status.DISPUTED: Tone.DANGER,
    Payment.Status.REFUNDED: Tone.NEUTRAL,
    Payment.Status.PARTIALLY_REFUNDED: Tone.WARNING,
}
EVENT = {
    WebhookEvent.Status.PROCESSED: Tone.SUCCESS,
    WebhookEvent.Status.PENDING: Tone.INFO,
    WebhookEvent.Status.PROCESSING: Tone.INFO,
    WebhookEvent.Status.FAILED: Tone.WARNING,
    WebhookEvent.Status.DEAD: Tone.DANGER,
    WebhookEvent.Status.IGNORED: Tone.NEUTRAL,
}
DIFFERENCE = {
    Difference.Status.OPEN: Tone.WARNING,
    Difference.Status.HEALED: Tone.SUCCESS,
    Difference.Status.GONE: Tone.NEUTRAL,
}
RECONCILIATION = {
    ReconciliationRun.Status.RUNNING: Tone.INFO,
    ReconciliationRun.Status.PAUSED: Tone.WARNING,
    ReconciliationRun.Status.FINISHED: Tone.SUCCESS,
    ReconciliationRun.Status.FAILED: Tone.DANGER,
}
REPLAY = {
    ReplayRun.Status.RUNNING: Tone.INFO,
    ReplayRun.Status.FINISHED: Tone.SUCCESS,
    ReplayRun.Status.STOPPED: Tone.NEUTRAL,
}
