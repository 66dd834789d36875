"""The page for a request that failed: where the database's state is the reason it says so, and the answer is 503."""

import sys

from django.db import Error
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.defaults import server_error as django_server_error
from psycopg import errors as pg

from glyphforge.database.budget import locked_tables


def server_error(request: HttpRequest) -> HttpResponse:
    """Django's `handler500`; called while the exception is handled.

    https://docs.djangoproject.com/en/5.2/topics/http/views/#customizing-error-views
    """
    error = sys.exc_info()[1]
    if isinstance(error, Error) and isinstance(error.__cause__, pg.LockNotAvailable | pg.QueryCanceled):
        try:
            context = {"locked": locked_tables()}
        except Error:  # the connection is of no use any more, or inside what failed
            context = {"locked": []}
        return render(request, "503.html", context, status=503)
    if isinstance(error, Error) and isinstance(
        error.__cause__, pg.UndefinedTable | pg.UndefinedColumn | pg.UndefinedFunction
    ):
        return render(request, "503.html", {"missing": error.__cause__.diag.message_primary}, status=503)
    answer: HttpResponse = django_server_error(request)
    return answer
