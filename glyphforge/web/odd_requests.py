"""What no page of ours asks for is answered 400, never 500: text or values that the database does not take."""

import logging
from collections.abc import Callable, Iterator

from django.db import DataError
from django.http import HttpRequest, HttpResponse
from django.views.defaults import bad_request

logger = logging.getLogger(__name__)

# Where a request's body is a form; everywhere else its view reads it.
_PAGES = "/admin/"
_FORMS = frozenset({"application/x-www-form-urlencoded", "multipart/form-data"})


class OddRequestsRefused:
    """Refuses NUL characters, which PostgreSQL has no text for, and values out of the range of what they are compared
    with, in addresses, cookies and forms."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        """Answer 400 where a text of the request contains NUL; a browser sends none."""
        if any("\0" in text for text in _texts(request)):
            return bad_request(request, ValueError("NUL"))
        return self.get_response(request)

    def process_exception(self, request: HttpRequest, error: Exception) -> HttpResponse | None:
        """Answer 400 where a page could not be made because of a value that the database does not take."""
        if not request.path_info.startswith(_PAGES) or not isinstance(error, DataError | OverflowError):
            return None
        logger.warning("%s %s is refused: %s", request.method, request.path_info, error)
        return bad_request(request, error)


def _texts(request: HttpRequest) -> Iterator[str]:
    yield request.path_info
    for name, values in request.GET.lists():
        yield name
        yield from values
    yield from request.COOKIES.values()
    if request.method == "POST" and request.path_info.startswith(_PAGES) and request.content_type in _FORMS:
        for name, values in request.POST.lists():
            yield name
            yield from values
