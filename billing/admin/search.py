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
from billing.services import search, search_words
from billing.services.search import Hit
from glyphforge.errors import Refused
from glyphforge.money import money

IN_PALETTE = 8
ICONS = {User: "person", WebhookEvent: "webhook", UnmatchedCustomer: "person_search"}


def hit_url(hit: Hit) -> str:
    """The page that the hit opens."""
    if hit.user:
        return customer_url(hit.user.pk)
    return reverse(f"admin:billing_{hit.found._meta.model_name}_change", args=[hit.found.pk])


def standing(hit: Hit) -> str:
    """What a customer has and pays, in words; nothing of others."""
    row = hit.subscription
    if hit.user is None:
        return ""
    if row is None:
        return "No subscription"
    price = f", {money(row.price_cents, row.currency)} a month" if row.price_cents else ""
    suspended = f", {hit.user.get_status_display().lower()}" if hit.user.status != User.Status.ACTIVE else ""
    return f"{row.get_tier_display()}, {row.get_status_display().lower()}{suspended}{price}"


def find(request: HttpRequest) -> HttpResponse:
    """Open the page of the only hit, or list the hits."""
    if not request.user.has_perm("billing.view_user"):
        raise PermissionDenied
    text, problem = request.GET.get("q", ""), ""
    try:
        hits = search.find(text)
    except Refused as refusal:
        hits, problem = [], str(refusal)
    if len(hits) == 1:
        return HttpResponseRedirect(hit_url(hits[0]))
    context = {
        **admin.site.each_context(request),
        "title": "Search",
        "text": text,
        "problem": problem,
        "hits": [(hit, hit_url(hit), standing(hit)) for hit in hits],
        "limit": search.LIMIT,
    }
    return TemplateResponse(request, "billing/search.html", context)


def palette(request: HttpRequest, term: str) -> list[Any]:
    """What the command palette shows for what was typed. `term` comes in lower case, but Stripe's ids do not."""
    typed = request.GET.get("s", term)
    if not request.user.has_perm("billing.view_user") or len(typed.strip()) < search_words.SHORTEST_PART:
        return []
    try:
        hits = search.find(typed, limit=IN_PALETTE)
    except Refused:  # of a filter that is typed still
        return []
    return [
        SearchResult(
            title=str(hit.found),
            description=f"{standing(hit) or capfirst(hit.found._meta.verbose_name)} · {hit.why}",
            link=hit_url(hit),
            icon=ICONS[type(hit.found)],
        )
        for hit in hits
    ]
