"""Attributes what a request changes to who sent it."""

import re
import uuid
from collections.abc import Callable

from django.http import HttpRequest, HttpResponse

from glyphforge.audit import acting_as

# What a proxy may hand on; anything else could forge lines in a log, or pass for a run of a job or an event.
_ACCEPTED_ID = re.compile(r"(?!run-|evt_)[A-Za-z0-9._-]{1,64}", re.IGNORECASE)


class AuditActorMiddleware:
    """Acts as the signed-in staff member for the length of the request, under its request id.

    The id is the proxy's `X-Request-ID`, else a new one; it is on `request.request_id` and on the response.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        """Have whatever the view changes or logs carry the actor and the id, and answer with the id."""
        given = request.headers.get("X-Request-ID", "")
        request_id = given if _ACCEPTED_ID.fullmatch(given) else uuid.uuid4().hex
        request.request_id = request_id  # type: ignore[attr-defined]
        actor = request.user.get_username() if request.user.is_authenticated else None
        with acting_as(actor=actor, kind="staff" if actor else None, request_id=request_id):
            response = self.get_response(request)
        response["X-Request-ID"] = request_id
        return response
