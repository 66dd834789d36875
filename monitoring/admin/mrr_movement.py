"""The ledger of recurring revenue: each movement with the subscription that caused it."""

from django.contrib import admin
from django.db.models import OuterRef, QuerySet, Subquery
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html

from billing.admin.customer_link import SearchByCustomerMixin, as_of_link
from billing.models import Tier, User
from glyphforge.admin.columns import EMPTY, badge_column, copyable, moment_column, money_column
from glyphforge.admin.export import Export
from glyphforge.admin.model_admin import ReadOnlyModelAdmin
from glyphforge.admin.operations import OperationsMixin
from monitoring.models import MrrMovement


@admin.register(MrrMovement)
class MrrMovementAdmin(OperationsMixin, SearchByCustomerMixin, ReadOnlyModelAdmin):
    """The movements; `?occurred_at__date=` shows what made up a day of the chart."""

    operations = (Export("monitoring.export_views"),)
    occurred = moment_column("occurred_at", description="when", ordering="occurred_at")
    badge = badge_column("kind", MrrMovement.Kind, description="movement")
    amount = money_column("amount_cents", description="a month")
    before = money_column("before_cents")
    after = money_column("after_cents")

    list_display = ("occurred", "badge", "amount", "before", "after", "plans", "customer", "cause")
    list_filter = ("kind", "tier_after")
    linked_by = ("occurred_at__date",)
    search_help_text = "A customer's e-mail (its beginning)"
    ordering = ("-occurred_at", "-id")
    fields = (
        "occurred", "badge", "amount", "before", "after", "tier_before", "tier_after", "customer", "as_of", "cause",
        "audit", "origin",
    )  # fmt: skip
    readonly_fields = ("occurred", "badge", "amount", "before", "after", "customer", "as_of", "cause", "audit")

    def get_queryset(self, request: HttpRequest) -> QuerySet[MrrMovement]:
        queryset: QuerySet[MrrMovement] = super().get_queryset(request)
        # No join: the ledger outlives a deleted customer.
        return queryset.annotate(email=Subquery(User.objects.filter(pk=OuterRef("user_id")).values("email")))

    @admin.display(description="customer")
    def customer(self, row: MrrMovement) -> str:
        email = getattr(row, "email", None)
        if email is None:
            return copyable(row.user_id)
        address = reverse("admin:billing_user_change", args=[row.user_id])
        return format_html('<a class="gf-link" href="{}">{}</a>', address, email)

    @admin.display(description="the customer")
    def as_of(self, row: MrrMovement) -> str:
        return as_of_link(row.user_id, row.occurred_at) if getattr(row, "email", None) else EMPTY

    @admin.display(description="plan")
    def plans(self, row: MrrMovement) -> str:
        labels = [str(Tier(tier).label) for tier in (row.tier_before, row.tier_after) if tier]
        return " \N{RIGHTWARDS ARROW} ".join(dict.fromkeys(labels))

    @admin.display(description="caused by")
    def cause(self, row: MrrMovement) -> str:
        address = reverse("admin:billing_subscription_change", args=[row.subscription_id])
        return format_html('<a class="gf-link" href="{}">Subscription</a>', address)

    @admin.display(description="who and why")
    def audit(self, row: MrrMovement) -> str:
        if row.audit_id is None:
            return EMPTY
        address = f"{reverse('admin:audit_auditentry_changelist')}?q={row.subscription_id}"
        return format_html('<a class="gf-link" href="{}">Audit entry {}</a>', address, row.audit_id)
