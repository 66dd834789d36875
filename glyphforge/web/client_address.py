"""Which address a request really came from."""

from ipaddress import ip_address

from django.conf import settings
from django.http import HttpRequest


def client_address(request: HttpRequest) -> str | None:
    """The address that the outermost of our own proxies saw (`DJANGO_PROXIES` of them), else the connection's.

    What a client writes into X-Forwarded-For itself stands further left and is never believed. None for a request that
    came over no connection.
    """
    seen: list[str] = []
    if settings.TRUSTED_PROXIES:
        seen = [part.strip() for part in request.META.get("HTTP_X_FORWARDED_FOR", "").split(",")]
    candidate = seen[-settings.TRUSTED_PROXIES] if len(seen) >= settings.TRUSTED_PROXIES > 0 else ""
    try:
        return str(ip_address(candidate))
    except ValueError:
        return request.META.get("REMOTE_ADDR") or None
