"""What others call: Stripe with its events, and who scans public places for keys with what they found."""

import logging

from django.conf import settings
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.http.request import UnreadablePostError
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_POST

from billing.keys import scanning
from billing.stripe import signature
from billing.stripe.errors import InvalidSignatureError
from billing.stripe.events import inbox

logger = logging.getLogger(__name__)

# Stripe's largest events are a few hundred kilobytes.
MAX_BODY_BYTES = 1_048_576


@csrf_exempt
@require_POST
def leaked_keys(request: HttpRequest) -> HttpResponse:
    """Revoke the keys that a signed report of a secret scanner names, and answer what each of them is.

    404 where nobody may report keys; 400 for a bad or missing signature and for what is no report; 413 for a body over
    1 MiB. The same report again answers the same and changes nothing.
    """
    if not settings.LEAK_SCANNER_KEYS:
        raise Http404("Nobody may report keys here: LEAK_SCANNER_KEYS is not set.")
    try:
        if int(request.META.get("CONTENT_LENGTH") or 0) > MAX_BODY_BYTES:
            return _refused(413, f"the body is larger than {MAX_BODY_BYTES} bytes")
        headers = request.headers
        scanning.verify(
            request.body,
            headers.get("Github-Public-Key-Identifier", ""),
            headers.get("Github-Public-Key-Signature", ""),
        )
        labels = scanning.receive(request.body)
    except scanning.NotAReportError as error:
        return _refused(400, str(error))
    except UnreadablePostError:
        return _refused(400, "the body ended early")
    except ValueError:
        return _refused(400, "the Content-Length is not a number")
    return JsonResponse(labels, safe=False)


@csrf_exempt
@require_POST
def stripe_webhook(request: HttpRequest) -> HttpResponse:
    """Store a verified event and answer 200, also for a duplicate; no call to Stripe is made here.

    400 for a bad or missing signature, an old timestamp or what is no event; 413 for a body over 1 MiB. What Stripe
    expects of an endpoint: https://docs.stripe.com/webhooks
    """
    try:
        too_large = int(request.META.get("CONTENT_LENGTH") or 0) > MAX_BODY_BYTES
    except ValueError:
        return _refused(400, "the Content-Length is not a number")
    if too_large:
        return _refused(413, f"the body is larger than {MAX_BODY_BYTES} bytes")
    try:
        body = request.body
        signature.verify(body, request.headers.get("Stripe-Signature", ""))
        event = inbox.parse(body)
    except (InvalidSignatureError, inbox.NotAnEventError) as error:
        return _refused(400, str(error))
    except UnreadablePostError:
        return _refused(400, "the body ended early")
    try:
        stored = inbox.store(event)
    except RecursionError:
        return _refused(400, "the event is nested too deeply")
    return JsonResponse({"received": event["id"], "duplicate": not stored})


def _refused(status: int, why: str) -> HttpResponse:
    logger.warning("webhook refused with %s: %s", status, why)
    return JsonResponse({"error": why}, status=status)
