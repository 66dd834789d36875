"""Who stays: the cohorts as a heat map, the customers in each of its cells, and what a customer is worth."""

from typing import Any

from django.contrib import admin
from django.core.exceptions import ValidationError
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.utils import timezone

from billing.models import Tier
from glyphforge.admin.columns import EMPTY, number, percent
from glyphforge.admin.columns import money_column as money
from glyphforge.money import money as amount
from monitoring.admin.heat_map import HeatMap, heat_map
from monitoring.admin.view import ViewAdmin, customer, rendered
from monitoring.models import LifetimeValue, MrrRetention, Retention, RetentionCustomer
from monitoring.models.retention_view import name_of

MONTHS_SHOWN = 13


def month(path: str, description: str) -> Any:
    """A sortable column of a month."""
    return rendered(path, lambda value: EMPTY if value is None else f"{value:%Y-%m}", description=description)


def plan(obj: Any) -> str:
    """The plan's name, or that it is all of them."""
    return "All plans" if obj.tier == "all" else str(Tier(obj.tier).label)


@admin.register(Retention)
class RetentionAdmin(ViewAdmin):
    """The cohorts of one currency as two heat maps, above the rows that they are drawn from."""

    list_before_template = "monitoring/retention.html"
    who = rendered("cohort", name_of, description="cohort")
    age = rendered("age_months", number, description="months since")
    at = month("month", "month")
    paying = rendered("customers", number, description="customers")
    size = rendered("cohort_customers", number, description="of")
    mrr = money("mrr_cents", description="MRR", ordering="mrr_cents")
    list_display = ("who", "age", "at", "paying", "size", "mrr")
    list_filter = ("currency",)
    ordering = ("-cohort", "age_months", "-month", "currency")
    nothing = "Nobody has paid yet"

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        response = super().changelist_view(request, extra_context)
        if isinstance(response, TemplateResponse) and response.context_data and "cl" in response.context_data:
            # What the list was made of is read once for both; a list too long for that has pages only.
            rows = response.context_data["cl"].paginator.rows
            response.context_data |= _drawn(heat_map(rows or []))
        return response


def _drawn(drawn: HeatMap | None) -> dict[str, Any]:
    """What the template shows beside the list."""
    if drawn is None:
        return {}
    months = MrrRetention.objects.filter(currency=drawn.currency, tier="all").order_by("-month")[:MONTHS_SHOWN]
    values = LifetimeValue.objects.filter(currency=drawn.currency).order_by("tier")
    return {
        "cohorts": drawn,
        "maps": [("Customers", drawn.customers, "First paid"), ("MRR", drawn.cents, "First month")],
        "months": list(months),
        "values": [_value(row) for row in values],
    }


def _value(row: LifetimeValue) -> dict[str, str]:
    high = amount(row.ltv_high_cents, row.currency) if row.ltv_high_cents is not None else "no upper bound"
    known = row.ltv_low_cents is not None
    return {
        "plan": plan(row),
        "expected": amount(row.ltv_cents, row.currency),
        "interval": f"{amount(row.ltv_low_cents, row.currency)} to {high}" if known else EMPTY,
        "realised": amount(row.realised_cents, row.currency),
        "left": amount(row.left_realised_cents, row.currency),
    }


@admin.register(RetentionCustomer)
class RetentionCustomerAdmin(ViewAdmin):
    """The customers of one month, of a cohort or of all: this month unless the address names another."""

    who = customer()
    mrr = money("mrr_cents", description="MRR", ordering="mrr_cents", zero="Left")
    first = rendered("cohort", name_of, description="cohort")
    age = rendered("age_months", number, description="months since")
    at = month("month", "month")
    list_display = ("who", "mrr", "first", "age", "at")
    list_display_links = None
    list_filter = ("is_paying",)
    linked_by = ("cohort", "cohort__isnull", "age_months", "month", "currency")
    ordering = ("-mrr_cents", "user_id")
    nothing = "Nobody in this cohort and month"
    search_fields = ("email__istartswith",)
    search_help_text = "E-mail"

    def get_queryset(self, request: HttpRequest) -> QuerySet[RetentionCustomer]:
        queryset: QuerySet[RetentionCustomer] = super().get_queryset(request)
        if "month" in request.GET:
            return queryset
        return queryset.filter(month=timezone.now().date().replace(day=1))

    def get_object(
        self, request: HttpRequest, object_id: str, from_field: str | None = None
    ) -> RetentionCustomer | None:
        """By the parts of its id, as the view is read by customer and month."""
        user_id, _, rest = object_id.partition(" ")
        parts = {"user_id": user_id, "month": f"{rest[:7]}-01", "currency": rest[8:]}
        try:
            return RetentionCustomer.objects.filter(**parts).first()
        except (ValueError, ValidationError):
            return None


@admin.register(MrrRetention)
class MrrRetentionAdmin(ViewAdmin):
    """Net and gross retention and the quick ratio of each month, by plan."""

    at = month("month", "month")
    start = money("start_cents", description="start", ordering="start_cents")
    gained = money("new_cents", description="new")
    back = money("reactivation_cents", description="reactivation")
    more = money("expansion_cents", description="expansion")
    less = money("contraction_cents", description="contraction")
    gone = money("churn_cents", description="churn")
    net = rendered("nrr_percent", percent, description="net retention")
    gross = rendered("grr_percent", percent, description="gross retention")
    ratio = rendered("quick_ratio", number, description="quick ratio")
    list_display = ("at", "plan", "net", "gross", "ratio", "start", "gained", "back", "more", "less", "gone")
    list_filter = ("tier", "currency")
    ordering = ("-month", "currency", "tier")
    repeated = ("tier", "new_cents", "reactivation_cents", "expansion_cents", "contraction_cents", "churn_cents")
    plan = admin.display(description="plan", ordering="tier")(lambda self, obj: plan(obj))


@admin.register(LifetimeValue)
class LifetimeValueAdmin(ViewAdmin):
    """What a customer is worth: expected, between which bounds, and as realised."""

    plan = admin.display(description="plan", ordering="tier")(lambda self, obj: plan(obj))
    arpu = money("arpu_cents", description="ARPU", ordering="arpu_cents")
    churn = rendered("churn_percent", percent, description="churn a month")
    value = money("ltv_cents", description="lifetime value", ordering="ltv_cents")
    low = money("ltv_low_cents", description="at least (95 %)", ordering="ltv_low_cents")
    high = money("ltv_high_cents", description="at most (95 %)", ordering="ltv_high_cents")
    realised = money("realised_cents", description="came in from one", ordering="realised_cents")
    left = money("left_realised_cents", description="from one who left", ordering="left_realised_cents")
    list_display = ("plan", "value", "low", "high", "arpu", "churn", "realised", "left")
    list_filter = ("tier", "currency")
    repeated = ("tier",)
    ordering = ("currency", "tier")
