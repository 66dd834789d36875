"""What each group of staff may do: data, which `glyphforge.staff.groups` applies after every `migrate`.

`billing.view_*` means every permission of that form. A group's permissions are exactly these: what was added to it by
hand is taken away again by the next `migrate`, so that a role means the same on every installation.
"""

READING_BILLING = ("billing.view_*", "djstripe.view_product", "djstripe.view_price", "djstripe.view_invoice")
READING_KIT = ("approval.view_*", "audit.view_*", "database.view_*", "web.view_*")
READING = (*READING_BILLING, *READING_KIT, "monitoring.view_*", "django_q.view_failure")
# Business figures are for those who answer for them.
FIGURES = (
    "monitoring.view_revenuemetrics",
    "monitoring.view_subscriptionbreakdown",
    "monitoring.view_usergrowth",
    "monitoring.view_dailymrr",
    "monitoring.view_mrrmovement",
    "monitoring.view_retention",
    "monitoring.view_retentioncustomer",
    "monitoring.view_mrrretention",
    "monitoring.view_lifetimevalue",
    "monitoring.view_forecast",
    "monitoring.view_renewal",
    "monitoring.view_paymentrecovery",
)

REPAIRS = (
    "billing.retry_webhookevent",
    "billing.replay_webhookevent",
    "billing.stop_replayrun",
    "billing.repair_difference",
    "billing.fix_orphans",
    "billing.sync_customer",
    "billing.add_customernote",
    "monitoring.acknowledge_alert",
)
KEYS = ("billing.add_apikey", "billing.rotate_apikey", "billing.revoke_apikey")
MONEY = (
    "billing.cancel_subscription",
    "billing.change_plan",
    "billing.credit_user",
    "billing.refund_payment",
    "billing.settle_invoice",
    "billing.collect_invoice",
)
DUNNING = ("billing.chase_invoice",)
PRIVACY = ("billing.export_user", "billing.erase_user", "billing.hold_user", "approval.decide_approval")
ENTITLEMENT = (
    "billing.link_customer",
    "billing.map_planprice",
    "billing.suspend_user",
    "billing.grant_extraquota",
    "billing.correct_usage",
)

# Statements of other sessions may carry a customer's data.
STATEMENTS = ("monitoring.view_longrunningquery", "monitoring.view_databasesession", "monitoring.view_topquery")
EXPORT = ("monitoring.export_views", "billing.export_lists", "audit.export_auditentry")

ROLES: dict[str, tuple[str, ...]] = {
    "support": (*READING, *REPAIRS, *KEYS, *DUNNING),
    "billing_lead": (*READING, *REPAIRS, *KEYS, *ENTITLEMENT, *MONEY, *DUNNING, *PRIVACY, *EXPORT),
    "operator": (
        *READING,
        *REPAIRS,
        "billing.revoke_apikey",
        "billing.suspend_user",
        "monitoring.run_job",
        "monitoring.schedule_job",
        "monitoring.change_healthcheck",
        "monitoring.signal_databasesession",
        "monitoring.repair_schemadifference",
        "monitoring.send_test_notification",
        "monitoring.silence_alerts",
        *EXPORT,
    ),
    "auditor": (*READING, *EXPORT, "auth.view_user", "auth.view_group", "axes.view_*"),
}
WITHOUT: dict[str, tuple[str, ...]] = {
    "support": (*FIGURES, *STATEMENTS),
    "billing_lead": STATEMENTS,
    "operator": FIGURES,
}
