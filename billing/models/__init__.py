"""The tables of schema `public`, one noun a file. The SQL under `billing/sql` defines them; these models follow."""

from billing.models.api_key import ApiKey
from billing.models.backfill import Backfill, BackfillList, BackfillProblem
from billing.models.charged_card import ChargedCard, card_text
from billing.models.cognito_sync import CognitoSyncCursor
from billing.models.customer_note import CustomerNote
from billing.models.extra_quota import ExtraQuota
from billing.models.open_invoice import OpenInvoice
from billing.models.payment import Payment
from billing.models.payment_case import PaymentCase
from billing.models.payment_movement import PaymentMovement
from billing.models.payment_reminder import PaymentReminder
from billing.models.plan import CatalogueEntry, Plan, PlanPrice
from billing.models.rate_limit import RateLimit
from billing.models.reconciliation import Difference, ReconciliationRun
from billing.models.replay_run import ReplayRun
from billing.models.stripe_customer import StripeCustomer
from billing.models.stripe_request import StripeRequest
from billing.models.subscription import Entitlement, Subscription
from billing.models.tier import Sold, Tier
from billing.models.tombstone import Tombstone
from billing.models.unmatched_customer import UnmatchedCustomer
from billing.models.upcoming_invoice import UpcomingInvoice
from billing.models.usage import ApiUsage, MonthlyUsageSummary
from billing.models.usage_correction import QuotaUsage, UsageCorrection
from billing.models.user import User
from billing.models.webhook_event import WebhookEvent

__all__ = [
    "ApiKey",
    "ApiUsage",
    "Backfill",
    "BackfillList",
    "BackfillProblem",
    "CatalogueEntry",
    "ChargedCard",
    "CognitoSyncCursor",
    "CustomerNote",
    "Difference",
    "Entitlement",
    "ExtraQuota",
    "MonthlyUsageSummary",
    "OpenInvoice",
    "Payment",
    "PaymentCase",
    "PaymentMovement",
    "PaymentReminder",
    "Plan",
    "PlanPrice",
    "QuotaUsage",
    "RateLimit",
    "ReconciliationRun",
    "ReplayRun",
    "Sold",
    "StripeCustomer",
    "StripeRequest",
    "Subscription",
    "Tier",
    "Tombstone",
    "UnmatchedCustomer",
    "UpcomingInvoice",
    "UsageCorrection",
    "User",
    "WebhookEvent",
    "card_text",
]
