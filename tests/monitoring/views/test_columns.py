"""Each view has the columns it promises, and each has a model with exactly its columns."""

import pytest
from django.apps import apps

from tests.support.sql import query

pytestmark = [pytest.mark.smoke, pytest.mark.django_db]

ALERT = "fingerprint severity alert_type subject message remediation value detected_at"
PUBLIC = {
    "v_system_health": "check_name status value warning_at critical_at message remediation",
    "v_alerts": ALERT,
    "v_critical_alerts": ALERT,
    "v_orphaned_stripe_customers": "user_id email stripe_customer_id created_at",
    "v_stale_subscriptions": "subscription_id user_id email tier status current_period_end days_overdue",
    "v_failed_webhook_events": "stripe_event_id event_type status attempts last_error next_retry_at received_at",
    "v_paid_users_without_keys": "user_id email tier subscribed_at",
    "v_users_near_limit": "user_id email tier usage_count monthly_request_limit percent_used",
    "v_high_volume_users": "user_id email tier requests_last_hour requests_last_24h",
    "v_repeated_failures": "user_id email endpoint failures_last_hour last_failure_at last_status_code",
    "v_slow_endpoints": "endpoint method requests avg_ms p95_ms p99_ms max_ms",
    "v_api_usage_trends": "day requests failed_requests error_percent avg_ms active_users",
    "v_api_key_usage_summary": "api_key_id user_id key_prefix environment requests_last_24h requests_this_month"
    " usage_count last_used_at revoked_at",
    "v_subscription_breakdown": "tier status subscriptions mrr_cents",
    "v_revenue_metrics": "mrr_cents arr_cents arpu_cents paying_customers revenue_this_month_cents"
    " revenue_last_month_cents refunded_this_month_cents failed_payments_this_month currency",
    "v_user_growth": "month new_users total_users growth_percent",
    "v_retention": "cohort age_months customers mrr_cents currency",
    "v_retention_customers": "user_id email cohort age_months mrr_cents currency month is_paying",
    "v_mrr_retention": "month currency tier customers_at_start customers_lost customers_gained start_cents",
    "v_lifetime_value": "currency tier customer_months customers_lost arpu_cents churn_percent ltv_cents",
    "v_renewals": "subscription_id user_id email tier kind due_at amount_cents currency",
    "v_forecast": "figure number low high amount_cents currency",
    "v_payments_at_risk": "user_id email stripe_invoice_id amount_due_cents currency mrr_cents attempt_count"
    " failure_code next_attempt_at overdue_since days_overdue",
    "v_payment_recovery": "month code reason currency failed recovered lost open"
    " failed_cents recovered_cents lost_cents open_cents mean_days",
    "v_expiring_cards": "user_id email card_brand card_last4 card_expires_on next_charge_at",
    "v_database_size": "table_name total_bytes table_bytes index_bytes row_estimate dead_rows",
    "v_database_connections": "total active idle idle_in_transaction max_connections percent_used",
    "v_long_running_queries": "pid username state duration_seconds wait_event query",
    "v_database_sessions": "session_id pid application_name username client state since transaction_since wait_event"
    " blocked_by blocks query",
    "v_top_queries": "id query calls total_ms mean_ms percent_of_time rows_returned username",
    "v_index_findings": "index_name table_name problem detail bytes scans definition",
    "v_schema_differences": "id problem kind name detail sql found_at",
}
MODELS = {
    model._meta.db_table: model for model in apps.get_app_config("monitoring").get_models() if not model._meta.managed
}


def columns(relation: str) -> list[str]:
    return [
        row["column_name"]
        for row in query(
            "SELECT column_name FROM information_schema.columns"
            " WHERE table_schema = 'public' AND table_name = %s ORDER BY ordinal_position",
            relation,
        )
    ]


@pytest.mark.parametrize("view", PUBLIC)
def test_view_has_its_public_columns_first_and_in_order(view: str) -> None:
    expected = PUBLIC[view].split()
    assert columns(view)[: len(expected)] == expected


def test_every_view_has_a_model() -> None:
    views = {row["viewname"] for row in query("SELECT viewname FROM pg_views WHERE viewname LIKE 'v\\_%%'")}
    assert views == set(MODELS) == set(PUBLIC)


@pytest.mark.parametrize("view", MODELS)
def test_model_has_exactly_the_columns_of_its_view(view: str) -> None:
    assert {field.column for field in MODELS[view]._meta.concrete_fields if field.column} == set(columns(view))


@pytest.mark.parametrize("view", PUBLIC)
def test_view_can_be_read_through_its_model(view: str) -> None:
    list(MODELS[view]._default_manager.all()[:5])
