"""The only page that ever shows a whole key: once, after the redirect of the form that made it."""

from django.contrib import admin, messages
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.views.decorators.cache import never_cache

from billing.keys.lifecycle import IssuedKey
from billing.models import ApiKey
from glyphforge.admin import shown_once


def to_new_key(request: HttpRequest, issued: IssuedKey, back: str) -> HttpResponse:
    """Redirect to the page that shows the key, from which `back` leads on."""
    name = shown_once.put(request, {"id": str(issued.key.pk), "key": issued.raw_key, "back": back})
    return HttpResponseRedirect(reverse("admin:billing_apikey_new_key", args=[name]))


@never_cache
def new_key(request: HttpRequest, name: str) -> HttpResponse:
    """The key; whoever comes again is told that it was shown."""
    shown = shown_once.take(request, name)
    if shown is None:
        messages.warning(request, "The key was shown before and cannot be shown again. If it is lost, rotate it.")
        return HttpResponseRedirect(reverse("admin:billing_apikey_changelist"))
    key = ApiKey.objects.select_related("user").filter(pk=shown["id"]).first()
    page = {"title": "API key", "issued": {"key": key, "raw_key": shown["key"]}, "back": shown["back"]}
    return TemplateResponse(request, "billing/key_shown_once.html", admin.site.each_context(request) | page)
