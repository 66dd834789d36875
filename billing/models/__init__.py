"""The tables of schema `public`, one noun a file. The SQL under `billing/sql` defines them; these models follow."""

from billing.models.api_key import ApiKey
from billing.models.cognito_sync import CognitoSyncCursor
from billing.models.customer_note import CustomerNote
from billing.models.payment import Payment
from billing.models.plan import Plan, PlanPrice
from billing.models.rate_limit import RateLimit
from billing.models.reconciliation import Difference, ReconciliationRun
from billing.models.replay_run import ReplayRun
from billing.models.stripe_customer import StripeCustomer
from billing.models.subscription import Subscription
from billing.models.tier import Tier
from billing.models.tombstone import Tombstone
from billing.models.unmatched_customer import UnmatchedCustomer
from billing.models.usage import ApiUsage, MonthlyUsageSummary
from billing.models.user import User
from billing.models.webhook_event import WebhookEvent

__all__ = [
    "ApiKey",
    "ApiUsage",
    "CognitoSyncCursor",
    "CustomerNote",
    "Difference",
    "MonthlyUsageSummary",
    "Payment",
    "Plan",
    "PlanPrice",
    "RateLimit",
    "ReconciliationRun",
    "ReplayRun",
    "StripeCustomer",
    "Subscription",
    "Tier",
    "Tombstone",
    "UnmatchedCustomer",
    "User",
    "WebhookEvent",
]
