"""The back office's pages of billing, one noun a file."""

from billing.admin import (
    api_key,
    customer,
    extra_quota,
    open_invoice,
    payment,
    plan,
    reconciliation,
    replay_run,
    stripe_customer,
    stripe_mirror,
    stripe_request,
    subscription,
    unmatched_customer,
    usage,
    webhook_event,
)

__all__ = [
    "api_key",
    "customer",
    "extra_quota",
    "open_invoice",
    "payment",
    "plan",
    "reconciliation",
    "replay_run",
    "stripe_customer",
    "stripe_mirror",
    "stripe_request",
    "subscription",
    "unmatched_customer",
    "usage",
    "webhook_event",
]
