"""The product's URLs, and a view that stores the same row and does nothing else."""

import json

from django.http import HttpRequest, HttpResponse
from django.urls import include, path
from django.views.decorators.csrf import csrf_exempt

from billing.models import WebhookEvent


@csrf_exempt
def bare(request: HttpRequest) -> HttpResponse:
    """Store the row: no signature, no duplicate check, no task."""
    event = json.loads(request.body)
    WebhookEvent.objects.create(
        stripe_event_id=event["id"],
        event_type=event["type"],
        api_version=event["api_version"],
        livemode=event["livemode"],
        payload=event,
        status="ignored",
    )
    return HttpResponse("stored")


urlpatterns = [path("bare/", bare), path("", include("glyphforge.urls"))]
