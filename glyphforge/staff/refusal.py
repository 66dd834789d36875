"""The page that says why a sign-in came to nothing."""

from typing import Any

from django.conf import settings
from django.contrib import admin
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render


def refused(request: HttpRequest, message: str, status: int = 403) -> HttpResponse:
    """The page with the message."""
    context = admin.site.each_context(request) | {"title": "Not signed in", "message": message}
    return render(request, "staff/refused.html", context, status=status)


def locked_out(request: HttpRequest, response: HttpResponse | None = None, *args: Any) -> HttpResponse:
    """django-axes' answer to whoever has failed too often. The same whether or not the account exists.

    Why it is the same:
    https://cheatsheetseries.owasp.org/cheatsheets/Authentication_Cheat_Sheet.html#authentication-and-error-messages
    """
    minutes = int(settings.AXES_COOLOFF_TIME.total_seconds() // 60)
    return refused(request, f"Too many failed attempts. Try again in {minutes} minutes.", status=429)
