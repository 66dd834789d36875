"""The list of customers, its search, and the page that shows all of one customer."""

from typing import Any

from django.contrib import admin
from django.contrib.admin.utils import unquote
from django.core.exceptions import PermissionDenied
from django.db.models import Prefetch, QuerySet
from django.db.models.functions import Lower
from django.http import Http404, HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import URLPattern, path
from django.utils.html import format_html
from django.utils.safestring import SafeString

from billing.admin import customer_page, search
from billing.admin.customer_operations import (
    AddNote,
    CreateKey,
    CreditCustomer,
    FixOrphans,
    LinkCustomer,
    Reactivate,
    Suspend,
    SyncFromStripe,
)
from billing.admin.quota_operations import CorrectUsage, GrantExtraQuota
from billing.models import Subscription, Tier, User
from billing.services.search import find
from glyphforge import audit
from glyphforge.admin.columns import EMPTY, badge, badge_column, choice_badge, moment_column, number
from glyphforge.admin.model_admin import ReadOnlyModelAdmin
from glyphforge.admin.operations import OperationsMixin


@admin.register(User)
class CustomerAdmin(OperationsMixin, ReadOnlyModelAdmin):
    """Customers of the API."""

    operations = (
        AddNote(),
        CreateKey(),
        SyncFromStripe(),
        LinkCustomer(),
        CreditCustomer(),
        GrantExtraQuota(),
        CorrectUsage(),
        Suspend(),
        Reactivate(),
        FixOrphans(),
    )
    state = badge_column("status", User.Status, description="status")
    created = moment_column("created_at", description="created", ordering="created_at")

    list_display = ("address", "name", "plan", "subscription_state", "usage", "state", "created")
    list_filter = ("status",)
    sortable_by = ("address", "created")
    ordering = ("-created_at",)
    search_fields = ("email",)  # makes the search box appear
    search_help_text = "E-mail, name, or any id"

    def get_queryset(self, request: HttpRequest) -> QuerySet[User]:
        queryset: QuerySet[User] = super().get_queryset(request)
        if request.resolver_match and request.resolver_match.url_name != "billing_user_changelist":
            return queryset  # the other pages show no columns
        live = Subscription.objects.filter(status__in=Subscription.LIVE, is_duplicate=False)
        live = live.select_related("entitlement")
        return queryset.prefetch_related(Prefetch("subscriptions", queryset=live, to_attr="live"))

    def get_urls(self) -> list[URLPattern]:
        own = [path("find/", self.admin_site.admin_view(search.find), name="billing_user_find")]
        return own + super().get_urls()

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[User], search_term: str
    ) -> tuple[QuerySet[User], bool]:
        """The list's own box finds what the search box finds."""
        if not search_term.strip():
            return queryset, False
        hits = find(search_term, limit=self.list_per_page)
        return queryset.filter(pk__in=[hit.user.pk for hit in hits if hit.user]), False

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """The customer's page, in place of a form: nothing here is edited in place."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        user = self.get_object(request, unquote(object_id))
        if user is None:
            raise Http404("No customer has this id.")
        audit.record_read(table_name="users", row_id=user.pk)
        page = customer_page.context(request, user)
        context = {
            **self.admin_site.each_context(request),
            **page,
            "title": "Customer",
            "opts": self.opts,
            "original": user,
            "row_operations": self.offers(request, user),
            "here": request.path,
        }
        request.current_app = self.admin_site.name
        return TemplateResponse(request, "billing/customer/page.html", context)

    @admin.display(description="e-mail", ordering=Lower("email"))
    def address(self, obj: User) -> str:
        return obj.email or obj.name or str(obj.pk)

    @admin.display(description="plan")
    def plan(self, obj: Any) -> str | SafeString:
        return choice_badge(Tier(obj.live[0].tier)) if obj.live else EMPTY

    @admin.display(description="subscription")
    def subscription_state(self, obj: Any) -> str | SafeString:
        if not obj.live:
            return badge("None", "warning")
        return choice_badge(Subscription.Status(obj.live[0].status))

    @admin.display(description="used this month")
    def usage(self, obj: Any) -> str | SafeString:
        if not obj.live:
            return EMPTY
        used, limit = obj.live[0].usage_count, obj.live[0].limit
        if limit is None:
            return f"{number(used)} of unlimited"
        return format_html(
            '<span class="gf-usage">{} of {}</span>'
            ' <meter min="0" max="{}" high="{}" value="{}" aria-label="share used"></meter>',
            number(used),
            number(limit),
            max(limit, 1),
            limit * 0.8,
            min(used, limit),
        )
