"""The search box: one hit opens its page, more are listed; and the same in the command palette."""

from typing import Any

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.text import capfirst
from unfold.dataclasses import SearchResult

from billing.admin.customer_link import customer_url
from billing.models import UnmatchedCustomer, User, WebhookEvent
from billing.services import search
from billing.services.search import Hit

IN_PALETTE = 8
ICONS = {User: "person", WebhookEvent: "webhook", UnmatchedCustomer: "person_search"}


def hit_url(hit: Hit) -> str:
    """The page that the hit opens."""
    if hit.user:
        return customer_url(hit.user.pk)
    return reverse(f"admin:billing_{hit.found._meta.model_name}_change", args=[hit.found.pk])


def find(request: HttpRequest) -> HttpResponse:
    """Open the page of the only hit, or list the hits."""
    if not request.user.has_perm("billing.view_user"):
        raise PermissionDenied
    text = request.GET.get("q", "")
    hits = search.find(text)
    if len(hits) == 1:
        return HttpResponseRedirect(hit_url(hits[0]))
    context = {
        **admin.site.each_context(request),
        "title": "Search",
        "text": text,
        "hits": [(hit, hit_url(hit)) for hit in hits],
        "limit": search.LIMIT,
    }
    return TemplateResponse(request, "billing/search.html", context)


def palette(request: HttpRequest, term: str) -> list[Any]:
    """What the command palette shows for what was typed. `term` comes in lower case, but Stripe's ids do not."""
    typed = request.GET.get("s", term)
    if not request.user.has_perm("billing.view_user") or len(typed.strip()) < search.SHORTEST_PART:
        return []
    return [
        SearchResult(
            title=str(hit.found),
            description=f"{capfirst(hit.found._meta.verbose_name)}, {hit.why}",
            link=hit_url(hit),
            icon=ICONS[type(hit.found)],
        )
        for hit in search.find(typed, limit=IN_PALETTE)
    ]
