"""The address in HEARTBEAT_URL is asked after each evaluation: whoever keeps it notices when that ends."""

import logging
from http.client import HTTPException
from urllib.error import HTTPError
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

from django.conf import settings

TIMEOUT_SECONDS = 5

logger = logging.getLogger(__name__)


def ask() -> str | None:
    """Ask the address; the problem in words, or None when it answered. Its path is a secret and is never repeated."""
    host = urlsplit(settings.HEARTBEAT_URL).hostname
    request = Request(settings.HEARTBEAT_URL, headers={"User-Agent": "glyph-forge"})  # noqa: S310 - http(s), by settings
    try:
        with urlopen(request, timeout=TIMEOUT_SECONDS) as answer:  # noqa: S310
            answer.read(1000)
    except HTTPError as error:
        problem = f"{host} answered {error.code}."
    except TimeoutError:
        problem = f"{host} did not answer within {TIMEOUT_SECONDS} seconds."
    except (OSError, HTTPException, ValueError):
        problem = f"{host} was not reached."
    else:
        return None
    logger.warning("HEARTBEAT_URL: %s", problem)
    return problem
