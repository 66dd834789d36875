"""The list of customers, its search, and the page that shows all of one customer."""

from typing import Any

from django.contrib import admin, messages
from django.contrib.admin.utils import unquote
from django.core.exceptions import PermissionDenied, ValidationError
from django.db.models import Prefetch, QuerySet
from django.db.models.functions import Lower
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path
from django.utils.html import format_html
from django.utils.safestring import SafeString

from billing.admin import customer_as_of, customer_invoices, customer_page, exports, search
from billing.admin.customer_link import customer_url
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
from billing.admin.privacy_operations import EraseCustomer, ExportCustomer, LiftLegalHold, PlaceLegalHold
from billing.admin.quota_operations import CorrectUsage, GrantExtraQuota
from billing.models import Subscription, Tier, User
from billing.services import upcoming
from billing.services.search import find
from glyphforge import audit
from glyphforge.admin.columns import EMPTY, badge, badge_column, choice_badge, moment_column, number
from glyphforge.admin.model_admin import ReadOnlyModelAdmin
from glyphforge.admin.operations import OperationsMixin
from glyphforge.errors import Refused


def _user(object_id: str, among: QuerySet[User] | None = None) -> User:
    try:
        return (among if among is not None else User.objects.all()).get(pk=unquote(object_id))
    except (User.DoesNotExist, ValidationError):
        raise Http404("No customer has this id.") from None


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
        ExportCustomer(),
        EraseCustomer(),
        PlaceLegalHold(),
        LiftLegalHold(),
        FixOrphans(),
        exports.CUSTOMERS,
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
        view = self.admin_site.admin_view
        own = [
            path("find/", view(search.find), name="billing_user_find"),
            path("<path:object_id>/upcoming/", view(self._upcoming), name="billing_user_upcoming"),
        ]
        return own + super().get_urls()

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[User], search_term: str
    ) -> tuple[QuerySet[User], bool]:
        """The list's own box finds what the search box finds."""
        if not search_term.strip():
            return queryset, False
        try:
            hits = find(search_term, limit=self.list_per_page)
        except Refused as refusal:
            messages.error(request, str(refusal))
            hits = []
        return queryset.filter(pk__in=[hit.user.pk for hit in hits if hit.user]), False

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """The customer's page, in place of a form: nothing here is edited in place."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        user = _user(object_id, among=customer_page.for_page())
        audit.record_read(table_name="users", row_id=user.pk)
        if "at" in request.GET:
            request.current_app = self.admin_site.name
            return customer_as_of.page(request, user)
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

    def _upcoming(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """The customer's upcoming invoice, asked for at Stripe: the part of the page, or the page itself without it."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        user = _user(object_id)
        known = upcoming.ask_for(user)
        if "X-Part" not in request.headers:
            return HttpResponseRedirect(customer_url(user.pk))
        context = {"upcoming": customer_invoices.shown(known)}
        return TemplateResponse(request, "billing/customer/upcoming.html", context)

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
