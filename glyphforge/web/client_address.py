"""Which address a request really came from, and what is counted as one source."""

from ipaddress import IPv6Address, ip_address, ip_network

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


def source_of(address: str) -> str:
    """What failures of this address are counted by: an IPv4 address itself, of IPv6 the /64 that one line is given.

    An IPv4 address that is written as IPv6 is the IPv4 address; a text that is no address stays as it is.
    """
    try:
        found = ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if isinstance(found, IPv6Address):
        if found.ipv4_mapped is None:
            return str(ip_network((found, 64), strict=False))
        found = found.ipv4_mapped
    return str(found)
