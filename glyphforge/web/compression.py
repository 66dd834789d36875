"""Pages are compressed on their way, but for those that hold a secret."""

from django.conf import settings
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.middleware.gzip import GZipMiddleware


class PagesCompressed(GZipMiddleware):
    """Compresses what a browser asks for and shows: HTML in answer to GET, outside of `PAGES_WITH_SECRETS`.

    What has been compressed together shows by its length what it has in common (BREACH): who can make a member of staff
    ask for pages, put a guess into them and see how long they are, could read a secret beside the guess. Here

    - the CSRF token is another in every page (Django masks it), so no two answers have one in common;
    - Django adds up to 100 random bytes, so that a length takes many times as many answers to be seen;
    - the session's cookie is SameSite=Lax: another site makes a browser open a page, but not ask for one unseen;
    - new API keys, the secret and the recovery codes of a second factor are in `PAGES_WITH_SECRETS`: these are sent as
      they are.

    The HTTP API, webhooks and exports are sent as they are too: they are no pages.
    https://docs.djangoproject.com/en/5.2/ref/middleware/#module-django.middleware.gzip
    """

    def process_response(self, request: HttpRequest, response: HttpResponseBase) -> HttpResponseBase:
        """Compress the answer if it is such a page, and the browser takes gzip."""
        is_page = request.method == "GET" and response.headers.get("Content-Type", "").startswith("text/html")
        if not is_page or request.path_info.startswith(settings.PAGES_WITH_SECRETS):
            return response
        return super().process_response(request, response)
