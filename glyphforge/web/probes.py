"""Probes come by address, not by name: a load balancer, a container or Prometheus asks at an IP."""

from collections.abc import Callable

from django.conf import settings
from django.http import HttpRequest, HttpResponseBase
from django.urls import resolve

GetResponse = Callable[[HttpRequest], HttpResponseBase]


class AnyHost:
    """Answers `PROBE_PATHS` whatever host was asked for; everything else goes on to where `ALLOWED_HOSTS` is looked at.

    What a probe answers never depends on the host and never repeats it, so that nothing is gained by inventing one.
    """

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        """Answer a probe at once, ahead of sessions and sign-in; hand on every other request."""
        if request.path_info not in settings.PROBE_PATHS:
            return self.get_response(request)
        view, arguments, keywords = resolve(request.path_info)
        response: HttpResponseBase = view(request, *arguments, **keywords)
        return response
