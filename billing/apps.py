from pathlib import Path

from django.apps import AppConfig
from django.db.models.signals import post_migrate

from glyphforge.database import rehearsal
from glyphforge.database.rights import Rights


class BillingConfig(AppConfig):
    """Customers, subscriptions, keys, usage and payments."""

    name = "billing"
    verbose_name = "Billing"
    audit_pages = {
        "users": "admin:billing_user_change",
        "subscriptions": "admin:billing_subscription_change",
        "api_keys": "admin:billing_apikey_change",
        "plans": "admin:billing_plan_change",
        "entitlement_grants": "admin:billing_extraquota_change",
        "usage_corrections": "admin:billing_usagecorrection_change",
        "plan_prices": "admin:billing_planprice_change",
        "payment_history": "admin:billing_payment_change",
        "stripe_customers": "admin:billing_user_changelist",  # logged by Stripe's id
        "stripe_webhook_events": "admin:billing_webhookevent_changelist",  # logged by Stripe's id
    }
    database_rights = Rights(
        append_only=("api_usage", "payment_movements", "usage_corrections"),
        read_only=("api_usage_deltas", "monthly_usage_totals", "entitled_statuses", "quota_rule"),
        hidden_columns={"api_keys": ("key_hash", "key_fast_hash")},
        maintenance=(
            *("create_api_usage_partitions", "roll_up_usage", "run_daily_maintenance", "run_weekly_maintenance"),
            *("cleanup_api_usage_request_ids", "cleanup_rate_limits", "cleanup_webhook_events"),
        ),
        retention=("cleanup_old_api_usage",),
    )
    sql_needs = ("djstripe",)  # indexes on the mirror
    without_rows = ("djstripe_apikey",)  # the Stripe key, in plain text
    seeded = ("plans", "entitled_statuses", "quota_rule")
    approval_kinds = {"erase_customer": "billing.tasks.erase_customer"}

    def beside_backup(self, folder: Path, alias: str) -> None:
        """Keep the list of who was erased where the backups are."""
        from billing.services.privacy import replaying  # noqa: PLC0415 - needs the app registry

        replaying.write(folder, alias)

    def after_restore(self, alias: str, folder: Path, source: str) -> str:
        """Erase again who was erased since the backup was taken."""
        from billing.services.privacy import replaying  # noqa: PLC0415 - needs the app registry

        return replaying.after_restore(alias, folder, source)

    def ready(self) -> None:
        """Give stripe-python and the database our settings; keep the secret key out of dj-stripe's tables; rehearse."""
        from billing import tasks  # noqa: PLC0415 - needs the app registry
        from billing.services import entitlement, quota_rule  # noqa: PLC0415 - needs the app registry
        from billing.stripe import gateway, mirror  # noqa: PLC0415 - needs the app registry

        rehearsal.register(follow_up=tasks.rehearse_enqueued, leave_out="api_usage")
        gateway.configure()
        mirror.adapt_dj_stripe()
        for setting in (entitlement, quota_rule):
            post_migrate.connect(setting.apply_after_migrate, sender=self)
