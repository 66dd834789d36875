"""Error reports to Sentry, when a DSN is configured; secrets and customers' data stay here."""

import logging
from typing import Any
from urllib.parse import urlsplit

import sentry_sdk
from sentry_sdk.integrations.logging import LoggingIntegration

from glyphforge import audit
from glyphforge.audit.masking import mask_values
from glyphforge.database.rehearsal import is_rehearsing


def start(dsn: str, *, environment: str) -> None:
    """Report unhandled errors and logged ones to `dsn`."""
    sentry_sdk.init(
        dsn=dsn,
        environment=environment,
        integrations=[LoggingIntegration(event_level=logging.ERROR)],
        before_send=scrubbed,
        before_breadcrumb=without_paths,
        send_default_pii=False,
        # Local variables hold payloads, keys and addresses.
        include_local_variables=False,
        max_request_body_size="never",
    )


def without_paths(crumb: Any, hint: dict[str, Any]) -> Any:
    """The breadcrumb as it may leave: of an address that was asked only the host, as paths hold secrets."""
    address = crumb.get("data", {}).get("url")
    if isinstance(address, str):
        parts = urlsplit(address)
        crumb["data"] = {**crumb["data"], "url": f"{parts.scheme}://{parts.hostname}"}
    return mask_values(crumb)


def scrubbed(event: Any, hint: dict[str, Any]) -> Any:
    """The event as it may leave: tagged with the request's id, secrets masked, without what was asked for by query.

    None, so that nothing leaves, in a rehearsal, and for a host that is not ours: anybody on the internet could use up
    the quota.
    """
    if is_rehearsing() or str(event.get("logger")).startswith("django.security."):
        return None
    event = mask_values(event)
    request = event.get("request")
    if isinstance(request, dict):
        request.pop("query_string", None)
        if isinstance(request.get("url"), str):
            request["url"] = request["url"].partition("?")[0]
    if request_id := audit.current().request_id:
        event.setdefault("tags", {})["request_id"] = request_id
    return event
