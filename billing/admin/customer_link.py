"""How other pages name a customer, and find their rows by one."""

from collections.abc import Callable
from datetime import datetime
from typing import Any
from urllib.parse import urlencode

from django.contrib import admin
from django.db.models import Model, Q, QuerySet
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html

from billing.models import User
from billing.services import search
from glyphforge.admin.columns import EMPTY
from glyphforge.admin.model_admin import ModelAdmin

CUSTOMERS_CONSIDERED = 200


def customer_url(user_id: Any) -> str:
    """The customer's page."""
    return reverse("admin:billing_user_change", args=[user_id])


def as_of_url(user_id: Any, at: datetime) -> str:
    """The page of the customer as they were at that moment."""
    return f"{customer_url(user_id)}?{urlencode({'at': at.isoformat()})}"


def as_of_link(user_id: Any, at: datetime | None) -> str:
    """Opens that page; a dash where no moment is known."""
    return format_html('<a class="gf-link gf-nowrap" href="{}">as of then</a>', as_of_url(user_id, at)) if at else EMPTY


def customer_column() -> Callable[[Any, Model], str]:
    """A column that names the customer and opens the customer's page; a dash for none. Needs `user` selected."""

    @admin.display(description="customer")
    def show(self: Any, obj: Any) -> str:
        if obj.user is None:
            return EMPTY
        return format_html(
            '<a class="gf-link gf-email" href="{}" title="{}">{}</a>', customer_url(obj.user_id), obj.user, obj.user
        )

    return show


class SearchByCustomerMixin(ModelAdmin):
    """Searches by a customer's e-mail (its beginning), a Stripe customer of theirs or one of the row's own ids.

    Of an id the first 8 characters are enough; an address of Stripe's dashboard is as good as the id in it.

    The customers are looked up first: an OR across a join could use no index.
    """

    own_ids: tuple[str, ...] = ()
    search_fields = ("id",)  # makes the search box appear
    search_help_text = "Customer's e-mail or an id"

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        term = search.cleaned(search_term)
        if not term:
            return queryset, False
        matches = Q()
        for field in self.own_ids:
            matches |= search.starting(field, term)
        whose = (
            Q(stripe_customers__in=search.customer_ids(term)) if term.startswith("cus_") else Q(email__istartswith=term)
        )
        customers = User.objects.filter(whose).order_by().values_list("pk", flat=True)
        with search.by_index_only():
            found = list(customers[:CUSTOMERS_CONSIDERED])
        return queryset.filter(matches | Q(user_id__in=found)), False
